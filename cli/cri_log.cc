#include "cli/cri_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <vector>

#include "base/file.h"
#include "base/strings.h"

namespace berth::cli {
namespace {

constexpr size_t kChunkBytes = 64 << 10;
// One call returns about this much: the caller prints it before it asks for more.
constexpr size_t kEnoughBytes = 1 << 20;

// Splits off what stands before the next blank.
std::string_view NextField(std::string_view& rest) {
  const size_t blank = rest.find(' ');
  const std::string_view field = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  return field;
}

bool EndsLine(std::string_view line) {
  const auto entry = ParseLogLine(line);
  return !entry || !entry->partial;
}

}  // namespace

std::optional<LogEntry> ParseLogLine(std::string_view line) {
  LogEntry entry;
  entry.time = NextField(line);
  const std::string_view stream = NextField(line);
  const std::string_view tag = NextField(line);
  if (entry.time.size() < sizeof("2000-01-01T00:00:00Z") - 1 || entry.time[10] != 'T') {
    return std::nullopt;
  }
  if ((stream != "stdout" && stream != "stderr") ||
      !(tag.starts_with('F') || tag.starts_with('P'))) {
    return std::nullopt;
  }
  entry.to_stderr = stream == "stderr";
  entry.partial = tag[0] == 'P';
  entry.text = line;
  return entry;
}

void LogFormatter::Feed(std::string_view bytes, LogOutput& output) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
      pending_.append(bytes);
      return;
    }
    if (pending_.empty()) {
      FormatLine(bytes.substr(0, end), output);
    } else {
      pending_.append(bytes.substr(0, end));
      FormatLine(pending_, output);
      pending_.clear();
    }
    bytes.remove_prefix(end + 1);
  }
}

void LogFormatter::FormatLine(std::string_view line, LogOutput& output) {
  const auto entry = ParseLogLine(line);
  if (!entry) {
    output.out.append(line).push_back('\n');
    return;
  }
  std::string& out = entry->to_stderr ? output.err : output.out;
  bool& mid_line = mid_line_[entry->to_stderr ? 1 : 0];
  if (timestamps_ && !mid_line) out.append(entry->time).push_back(' ');
  out.append(entry->text);
  if (!entry->partial) out.push_back('\n');
  mid_line = entry->partial;
}

LogReader::LogReader(std::string path, LogOptions options)
    : path_(std::move(path)), options_(options), formatter_(options.timestamps) {}

Status LogReader::SeekToTail() {
  if (options_.tail < 0) return Ok();
  // Where each of the last lines begins; one more, so that the oldest can be dropped.
  std::deque<int64_t> begins;
  int64_t offset = 0;
  int64_t line_begin = 0;
  bool new_line = true;
  std::string line;
  std::vector<char> chunk(kChunkBytes);
  while (true) {
    ASSIGN_OR_RETURN(const size_t size, ReadSome(file_.get(), chunk.data(), chunk.size()));
    if (size == 0) break;
    for (size_t i = 0; i < size; ++i, ++offset) {
      if (chunk[i] != '\n') {
        line.push_back(chunk[i]);
        continue;
      }
      if (new_line) begins.push_back(line_begin);
      new_line = EndsLine(line);
      line.clear();
      line_begin = offset + 1;
      if (static_cast<int64_t>(begins.size()) > options_.tail) begins.pop_front();
    }
  }
  const int64_t start = begins.empty() ? line_begin : begins.front();
  if (lseek(file_.get(), start, SEEK_SET) < 0) return ErrnoError(StrCat("seek in ", path_));
  return Ok();
}

Result<bool> LogReader::IsReplaced() {
  struct stat there {};
  if (stat(path_.c_str(), &there) != 0) {
    if (errno == ENOENT) return false;
    return ErrnoError(StrCat("open ", path_));
  }
  if (!file_.ok()) return true;
  struct stat mine {};
  if (fstat(file_.get(), &mine) != 0) return ErrnoError(StrCat("stat ", path_));
  return mine.st_dev != there.st_dev || mine.st_ino != there.st_ino;
}

// At the end of the file: true if there may be more to read.
Result<bool> LogReader::Advance() {
  if (!replaced_) {
    ASSIGN_OR_RETURN(replaced_, IsReplaced());
    // Once there is a new file nobody writes the old one, but it may have grown until now.
    return replaced_;
  }
  const bool first = !file_.ok();
  ASSIGN_OR_RETURN(file_, Open(path_, O_RDONLY | O_NONBLOCK));
  replaced_ = false;
  if (first) RETURN_IF_ERROR(SeekToTail());
  return true;
}

Result<LogOutput> LogReader::Read() {
  LogOutput output;
  std::array<char, kChunkBytes> chunk{};
  bool more = true;
  while (more && output.out.size() + output.err.size() < kEnoughBytes) {
    size_t size = 0;
    if (file_.ok()) {
      ASSIGN_OR_RETURN(size, ReadSome(file_.get(), chunk.data(), chunk.size()), "read ", path_);
    }
    if (size > 0) {
      formatter_.Feed({chunk.data(), size}, output);
    } else {
      ASSIGN_OR_RETURN(more, Advance());
    }
  }
  return output;
}

}  // namespace berth::cli
