// The log file of one container in CRI's format, one line of output per line:
//   2016-10-06T00:17:09.669794202Z stdout F the line
// (kubernetes/kubelet pkg/kubelet/kuberuntime/logs). F ends a line, P is a part of one: a line
// longer than the limit comes as several P and a last F; output that ends without a newline ends
// with a P.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

class CriLog {
 public:
  // Opens the file below the plan's directory, which it creates if need be. No symlink is followed
  // below the directory. A plan without a directory drops everything.
  static Result<CriLog> Open(const wire::LogPlan& plan);

  // Opens the file again by its name (kubelet has renamed the old one). On failure the old file
  // stays in use.
  Status Reopen();

  // One output stream's way into the log. Bytes of an unfinished line wait in it.
  class Stream {
   public:
    explicit Stream(const char* name) : name_(name) {}

   private:
    friend class CriLog;
    const char* name_;
    std::string pending_;
  };
  // Writes all whole lines, each in one piece. A failing write (disk full) loses lines but never
  // stops the container: the next line is tried again.
  void Write(Stream& stream, std::string_view bytes);
  // Writes what waits, as a partial line.
  void Flush(Stream& stream);

 private:
  explicit CriLog(const wire::LogPlan& plan) : plan_(plan) {}
  void Append(const Stream& stream, std::string_view line, char tag);
  void WriteBatch();

  wire::LogPlan plan_;
  UniqueFd file_;
  std::string batch_;  // formatted lines of one Write()
};

}  // namespace berth::shim
