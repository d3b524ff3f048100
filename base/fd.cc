#include "base/fd.h"

#include <fcntl.h>
#include <unistd.h>

namespace berth {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Result<PipeEnds> MakePipe(int flags) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | flags) != 0) return ErrnoError("pipe");
  return PipeEnds{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<UniqueFd> Duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.ok()) return ErrnoError("dup");
  return copy;
}

Status WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("write");
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return Ok();
}

Result<size_t> ReadSome(int fd, char* buffer, size_t size) {
  while (true) {
    ssize_t n = read(fd, buffer, size);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return ErrnoError("read");
  }
}

Result<std::string> ReadToEnd(int fd, size_t max_bytes) {
  std::string out;
  char buffer[16384];
  while (true) {
    ASSIGN_OR_RETURN(size_t n, ReadSome(fd, buffer, sizeof buffer));
    if (n == 0) return out;
    if (out.size() + n > max_bytes) {
      return Error(Code::kResourceExhausted, StrCat("more than ", max_bytes, " bytes"));
    }
    out.append(buffer, n);
  }
}

std::string FdPath(int fd) {
  return StrCat("/proc/self/fd/", fd);
}

}  // namespace berth
