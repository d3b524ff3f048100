// Ownership of file descriptors, and whole reads and writes on them.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace berth {

// Owns one file descriptor and closes it. Empty when it holds -1.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  // Gives up ownership.
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct PipeEnds {
  UniqueFd read;
  UniqueFd write;
};

// A close-on-exec pipe; `flags` are further flags of pipe2(2).
Result<PipeEnds> MakePipe(int flags = 0);
// A duplicate, close-on-exec.
Result<UniqueFd> Duplicate(int fd);

// Writes all of it, through EINTR and short writes. The descriptor must be blocking.
Status WriteAll(int fd, std::string_view data);
// Reads to the end of file. More than `max_bytes` is an error (ResourceExhausted).
Result<std::string> ReadToEnd(int fd, size_t max_bytes);
// One read(2), repeated on EINTR. 0 is the end of file.
Result<size_t> ReadSome(int fd, char* buffer, size_t size);

// "/proc/self/fd/N": names what a descriptor refers to for calls that only take paths.
std::string FdPath(int fd);

}  // namespace berth
