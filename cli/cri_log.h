// Reading the log files of containers: CRI's format, "TIME STREAM TAG TEXT" with tag F for the last
// part of a line and P for the others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace berth::cli {

struct LogEntry {
  std::string_view time;  // RFC 3339 with nanoseconds
  bool to_stderr = false;
  bool partial = false;   // the line goes on in the next entry of the same stream
  std::string_view text;  // without the line end
};

// One line of the file without its line end. Nothing if it is not in CRI's format.
std::optional<LogEntry> ParseLogLine(std::string_view line);

struct LogOptions {
  bool timestamps = false;
  // Only the last lines of what is there at first; negative for all. A line of several parts counts
  // as one.
  int64_t tail = -1;
};

// What came out of a container, as it is to be printed.
struct LogOutput {
  std::string out, err;
};

// Turns the file's bytes into output. A line that is not in CRI's format is passed on as it is.
class LogFormatter {
 public:
  explicit LogFormatter(bool timestamps) : timestamps_(timestamps) {}
  // `bytes` may end anywhere; what is left of a line waits for the next call.
  void Feed(std::string_view bytes, LogOutput& output);

 private:
  void FormatLine(std::string_view line, LogOutput& output);

  bool timestamps_;
  std::string pending_;
  bool mid_line_[2] = {false, false};  // of stdout and stderr: the last entry was partial
};

// Follows one log file through rotation: what replaces it is opened once the old one is at its end.
class LogReader {
 public:
  // The file need not exist yet.
  LogReader(std::string path, LogOptions options);
  // What was written since the last call; empty if nothing was.
  Result<LogOutput> Read();

 private:
  // Skips to where the last `tail` lines begin.
  Status SeekToTail();
  Result<bool> IsReplaced();
  Result<bool> Advance();

  std::string path_;
  LogOptions options_;
  LogFormatter formatter_;
  UniqueFd file_;
  bool replaced_ = false;  // `path_` names another file than `file_`
};

}  // namespace berth::cli
