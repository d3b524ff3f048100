#include "shim/cri_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/file.h"

namespace berth::shim {

namespace {

constexpr size_t kBatchBytes = 64 << 10;
constexpr size_t kKeepBytes = 4 << 10;  // buffers above this are given back when they are empty

Result<UniqueFd> OpenLogFile(const wire::LogPlan& plan) {
  RETURN_IF_ERROR(MakeDirs(plan.directory, 0755), "log directory");
  ASSIGN_OR_RETURN(auto directory, berth::Open(plan.directory, O_PATH | O_DIRECTORY),
                   "log directory");
  size_t slash = plan.name.rfind('/');
  if (slash != std::string::npos) {
    UniqueFd current = std::move(directory);
    for (std::string_view part : Split(std::string_view(plan.name).substr(0, slash), '/')) {
      RETURN_IF_ERROR(MakeDirAt(current.get(), std::string(part), 0755), "log directory");
      ASSIGN_OR_RETURN(current,
                       OpenNoSymlinks(current.get(), std::string(part), O_PATH | O_DIRECTORY));
    }
    directory = std::move(current);
  }
  std::string name = slash == std::string::npos ? plan.name : plan.name.substr(slash + 1);
  ASSIGN_OR_RETURN(auto file,
                   OpenNoSymlinks(directory.get(), name,
                                  O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY, 0640),
                   "log file");
  return file;
}

void AppendTimestamp(std::string& out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char text[40];
  int n = snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", parts.tm_year + 1900,
                   parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                   now.tv_nsec);
  out.append(text, static_cast<size_t>(n));
}

void GiveBack(std::string& buffer) {
  buffer.clear();
  if (buffer.capacity() > kKeepBytes) buffer.shrink_to_fit();
}

}  // namespace

Result<CriLog> CriLog::Open(const wire::LogPlan& plan) {
  CriLog log(plan);
  if (!plan.directory.empty()) RETURN_IF_ERROR(log.Reopen());
  return log;
}

Status CriLog::Reopen() {
  if (plan_.directory.empty()) return Ok();
  ASSIGN_OR_RETURN(file_, OpenLogFile(plan_));
  return Ok();
}

void CriLog::Append(const Stream& stream, std::string_view line, char tag) {
  AppendTimestamp(batch_);
  batch_ += ' ';
  batch_ += stream.name_;
  batch_ += ' ';
  batch_ += tag;
  batch_ += ' ';
  batch_ += line;
  batch_ += '\n';
  if (batch_.size() >= kBatchBytes) WriteBatch();
}

void CriLog::WriteBatch() {
  if (file_.ok()) (void)WriteAll(file_.get(), batch_);
  batch_.clear();
}

void CriLog::Write(Stream& stream, std::string_view bytes) {
  if (plan_.directory.empty()) return;
  const size_t limit = plan_.max_line_bytes;
  while (!bytes.empty()) {
    const size_t room = limit - stream.pending_.size();
    const size_t newline = bytes.substr(0, room + 1).find('\n');
    if (newline != std::string_view::npos) {
      std::string_view rest = bytes.substr(0, newline);
      if (stream.pending_.empty()) {
        Append(stream, rest, 'F');
      } else {
        stream.pending_ += rest;
        Append(stream, stream.pending_, 'F');
        stream.pending_.clear();
      }
      bytes.remove_prefix(newline + 1);
    } else if (bytes.size() > room) {
      // The line goes on beyond the limit.
      stream.pending_ += bytes.substr(0, room);
      Append(stream, stream.pending_, 'P');
      stream.pending_.clear();
      bytes.remove_prefix(room);
    } else {
      stream.pending_ += bytes;
      bytes = {};
    }
  }
  WriteBatch();
  GiveBack(batch_);
  if (stream.pending_.empty()) GiveBack(stream.pending_);
}

void CriLog::Flush(Stream& stream) {
  if (stream.pending_.empty()) return;
  Append(stream, stream.pending_, 'P');
  stream.pending_.clear();
  WriteBatch();
}

}  // namespace berth::shim
