#include "cli/check.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/strings.h"

namespace berth::cli {

namespace {

std::string_view NameOf(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarning:
      return "warning";
    case Level::kProblem:
      return "problem";
  }
  return "";
}

size_t Count(const Findings& findings, Level level) {
  return static_cast<size_t>(std::count_if(findings.begin(), findings.end(),
                                           [&](const Finding& f) { return f.level == level; }));
}

std::string Padded(std::string_view text, size_t width) {
  return StrCat(text, std::string(text.size() < width ? width - text.size() : 1, ' '));
}

}  // namespace

int Try(const std::function<int()>& probe) {
  const pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) _exit(probe());
  int result = 0;
  while (waitpid(pid, &result, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(result) ? WEXITSTATUS(result) : EIO;
}

std::string FindingsText(const Findings& findings) {
  size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.what.size() + 2);
  std::string text;
  for (const Finding& finding : findings) {
    text += StrCat(Padded(NameOf(finding.level), 9), Padded(finding.what, width),
                   Printable(finding.found), "\n");
    if (!finding.advice.empty()) {
      text += StrCat(std::string(9, ' '), Padded("", width), "-> ", finding.advice, "\n");
    }
  }
  return StrCat(text, Count(findings, Level::kProblem), " problems, ",
                Count(findings, Level::kWarning), " warnings\n");
}

Json FindingsJson(const Findings& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"check", finding.what},
                    {"level", std::string(NameOf(finding.level))},
                    {"found", finding.found},
                    {"advice", finding.advice}});
  }
  return list;
}

bool HasProblem(const Findings& findings) {
  return Count(findings, Level::kProblem) > 0;
}

}  // namespace berth::cli
