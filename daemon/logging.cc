#include "daemon/logging.h"

#include <glog/logging.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdlib>
#include <ostream>
#include <string>

#include "base/strings.h"

namespace berth::daemon {

namespace {

// systemd sets JOURNAL_STREAM to "device:inode" of the socket that it has made stderr.
bool StderrIsJournal() {
  const char* stream = getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || fstat(STDERR_FILENO, &info) != 0) return false;
  return StrCat(info.st_dev, ":", info.st_ino) == stream;
}

void WritePriority(std::ostream& out, const google::LogMessageInfo& message, void*) {
  switch (*message.severity) {
    case 'I':
      out << SD_INFO;
      break;
    case 'W':
      out << SD_WARNING;
      break;
    default:
      out << SD_ERR;
  }
}

}  // namespace

void SetLogLevel(int level) {
  // Other threads read it, and a plain number is all that glog has.
  __atomic_store_n(&FLAGS_minloglevel, level, __ATOMIC_RELAXED);
}

void StartLogging(const char* program, int level) {
  FLAGS_logtostderr = true;
  SetLogLevel(level);
  if (StderrIsJournal()) {
    google::InitGoogleLogging(program, &WritePriority);
  } else {
    google::InitGoogleLogging(program);
  }
}

}  // namespace berth::daemon
