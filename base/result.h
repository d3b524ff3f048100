// Errors as values. Every function that can fail returns Result<T> (or Status, which is
// Result<void>); nothing in Berth throws, and a library that throws is caught in the file that
// wraps it.
//
// A message is built outermost first: "run pod default/web: setup network: plugin bridge: exit 1".
// Callers branch on code(), never on text, and either log an error or return it, never both.
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/strings.h"

namespace berth {

// The gRPC status codes that Berth uses, with gRPC's numbers (grpc/status.h).
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

inline constexpr size_t kCodeCount = 17;
// As gRPC's libraries spell it: "NotFound".
std::string_view NameOf(Code code);

class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message, int sys_errno = 0)
      : code_(code), errno_(sys_errno), message_(std::move(message)) {}

  Code code() const { return code_; }
  // The errno that caused it, 0 where there was none.
  int sys_errno() const { return errno_; }
  const std::string& message() const { return message_; }

  // Puts "what: " in front of the message.
  Error Wrap(std::string_view what) && {
    message_ = StrCat(what, ": ", message_);
    return std::move(*this);
  }
  // Adds words to the end, for what went wrong besides.
  template <typename... Words>
  Error Append(const Words&... words) && {
    message_ = StrCat(message_, words...);
    return std::move(*this);
  }
  Error WithCode(Code code) && {
    code_ = code;
    return std::move(*this);
  }

 private:
  Code code_;
  int errno_;
  std::string message_;
};

// "what: No such file or directory", with the code that suits the errno.
Error ErrnoError(int sys_errno, std::string_view what);
// The same for the current errno.
Error ErrnoError(std::string_view what);

template <typename T>
class [[nodiscard]] Result {
 public:
  // `return value;` and `return Error(...);` are the point of both.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : v_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return v_.index() == 0; }
  const Error& error() const& { return std::get<1>(v_); }
  Error&& error() && { return std::get<1>(std::move(v_)); }
  Code code() const { return ok() ? Code::kOk : error().code(); }

  T& value() & { return std::get<0>(v_); }
  const T& value() const& { return std::get<0>(v_); }
  T&& value() && { return std::get<0>(std::move(v_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> v_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }
  Code code() const { return ok() ? Code::kOk : error_->code(); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status Ok() {
  return {};
}

}  // namespace berth

#define BERTH_CONCAT_INNER(a, b) a##b
#define BERTH_CONCAT(a, b) BERTH_CONCAT_INNER(a, b)

// RETURN_IF_ERROR(expr) or RETURN_IF_ERROR(expr, "while doing ", thing): passes a failure on, with
// the words (as for StrCat) in front of its message.
#define RETURN_IF_ERROR(expr, ...)                                                                \
  do {                                                                                            \
    if (auto status_or_error_ = (expr); !status_or_error_.ok())                                   \
      return std::move(status_or_error_).error() __VA_OPT__(.Wrap(::berth::StrCat(__VA_ARGS__))); \
  } while (0)

// ASSIGN_OR_RETURN(auto x, expr) or ASSIGN_OR_RETURN(auto x, expr, "while doing ", thing).
#define ASSIGN_OR_RETURN(lhs, expr, ...) \
  ASSIGN_OR_RETURN_INNER(BERTH_CONCAT(result_or_error_, __LINE__), lhs, expr, __VA_ARGS__)
#define ASSIGN_OR_RETURN_INNER(tmp, lhs, expr, ...)                                             \
  auto tmp = (expr);                                                                            \
  if (!tmp.ok()) return std::move(tmp).error() __VA_OPT__(.Wrap(::berth::StrCat(__VA_ARGS__))); \
  lhs = std::move(tmp).value()
