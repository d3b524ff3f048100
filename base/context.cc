#include "base/context.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/time.h"

namespace berth {

Result<Context> Context::Cancellable() {
  auto cancellation = std::make_shared<Cancellation>();
  cancellation->event.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!cancellation->event.ok()) return ErrnoError("eventfd");
  return Context(INT64_MAX, std::move(cancellation));
}

Context Context::Timeout(int64_t ms) const {
  int64_t now = MonotonicNs();
  int64_t span = ms > (INT64_MAX - now) / 1'000'000 ? INT64_MAX - now : ms * 1'000'000;
  return {std::min(deadline_ns_, now + span), cancellation_};
}

void Context::Cancel() const {
  if (!cancellation_) return;
  cancellation_->cancelled.store(true);
  uint64_t one = 1;
  (void)!write(cancellation_->event.get(), &one, sizeof one);
}

Status Context::Check(std::string_view step) const {
  if (cancellation_ && cancellation_->cancelled.load()) {
    return Error(Code::kCancelled, StrCat(step, ": cancelled"));
  }
  if (deadline_ns_ != INT64_MAX && MonotonicNs() >= deadline_ns_) {
    return Error(Code::kDeadlineExceeded, StrCat(step, ": deadline exceeded"), ETIMEDOUT);
  }
  return Ok();
}

int Context::RemainingMs() const {
  if (deadline_ns_ == INT64_MAX) return INT_MAX;
  int64_t left = (deadline_ns_ - MonotonicNs() + 999'999) / 1'000'000;
  return static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX));
}

Status Context::Poll(int fd, short events, std::string_view step) const {
  while (true) {
    RETURN_IF_ERROR(Check(step));
    pollfd fds[2] = {{fd, events, 0}, {cancellation_ ? cancellation_->event.get() : -1, POLLIN, 0}};
    int n = poll(fds, 2, deadline_ns_ == INT64_MAX ? -1 : RemainingMs());
    if (n < 0 && errno != EINTR) return ErrnoError("poll");
    if (n > 0 && fds[0].revents != 0) return Ok();
  }
}

Status Context::Poll(std::vector<pollfd>& fds, int timeout_ms, std::string_view step) const {
  RETURN_IF_ERROR(Check(step));
  const size_t own = fds.size();
  if (cancellation_) fds.push_back({cancellation_->event.get(), POLLIN, 0});
  int wait = timeout_ms;
  if (deadline_ns_ != INT64_MAX && (wait < 0 || wait > RemainingMs())) wait = RemainingMs();
  const int n = poll(fds.data(), fds.size(), wait);
  const int cause = errno;
  fds.resize(own);
  if (n < 0) {
    if (cause != EINTR) return ErrnoError(cause, "poll");
    for (pollfd& fd : fds) fd.revents = 0;
  }
  return Check(step);
}

}  // namespace berth
