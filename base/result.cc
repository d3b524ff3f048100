#include "base/result.h"

#include <array>
#include <cstring>

namespace berth {

namespace {

Code CodeOfErrno(int sys_errno) {
  switch (sys_errno) {
    case ENOENT:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kResourceExhausted;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Error ErrnoError(int sys_errno, std::string_view what) {
  // strerrordesc_np reads no locale, so it is safe in any thread and in the static shim.
  const char* text = strerrordesc_np(sys_errno);
  return {CodeOfErrno(sys_errno),
          StrCat(what, ": ", text != nullptr ? std::string(text) : StrCat("errno ", sys_errno)),
          sys_errno};
}

Error ErrnoError(std::string_view what) {
  return ErrnoError(errno, what);
}

std::string_view NameOf(Code code) {
  constexpr std::array<std::string_view, kCodeCount> kNames = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  const auto i = static_cast<size_t>(code);
  return i < kNames.size() ? kNames[i] : "Unknown";
}

}  // namespace berth
