#include "runtime/open_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxProcesses = 256;
constexpr uint64_t kMaxDescriptors = 4096;

bool IsSocket(int dir, const std::string& name) {
  constexpr std::string_view kPrefix = "socket:";
  char target[32];
  const ssize_t n = readlinkat(dir, name.c_str(), target, sizeof target);
  return n > 0 && std::string_view(target, static_cast<size_t>(n)).starts_with(kPrefix);
}

}  // namespace

std::optional<OpenFiles> CountOpenFiles(const std::vector<pid_t>& processes) {
  if (processes.size() > kMaxProcesses) return std::nullopt;
  OpenFiles files;
  for (pid_t pid : processes) {
    auto dir = Open(StrCat("/proc/", pid, "/fd"), O_RDONLY | O_DIRECTORY);
    if (!dir.ok()) continue;
    (void)ForEachEntry(dir->get(), [&](const std::string& name) -> Status {
      if (++files.descriptors > kMaxDescriptors) return Error(Code::kResourceExhausted, "too many");
      if (IsSocket(dir->get(), name)) ++files.sockets;
      return Ok();
    });
    if (files.descriptors > kMaxDescriptors) return std::nullopt;
  }
  return files;
}

}  // namespace berth::runtime
