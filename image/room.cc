#include "image/room.h"

#include <sys/statvfs.h>

#include "base/strings.h"

namespace berth::image {

namespace {

// What a writer left on a disk that it found full.
constexpr uint64_t kNextToNothing = 16 << 20;

Result<uint64_t> FreeBytes(const std::string& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0) return ErrnoError(StrCat("statfs ", directory));
  return uint64_t{info.f_bavail} * info.f_frsize;
}

}  // namespace

Status CheckRoom(const std::string& directory, uint64_t bytes, const std::string& what) {
  ASSIGN_OR_RETURN(const uint64_t free, FreeBytes(directory));
  if (bytes <= free) return Ok();
  return Error(Code::kResourceExhausted,
               StrCat("no room for ", what, ": at least ", bytes, " bytes are needed in ",
                      directory, ", ", free, " are free"));
}

Error WithRoom(Error error, const std::string& directory) {
  if (error.code() != Code::kResourceExhausted) return error;
  const auto free = FreeBytes(directory);
  if (!free.ok() || *free > kNextToNothing) return error;
  return std::move(error).Wrap(StrCat(*free, " bytes are free in ", directory));
}

}  // namespace berth::image
