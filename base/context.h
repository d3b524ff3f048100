// What every blocking call takes: a deadline and a way to be cancelled.
#pragma once

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth {

// A cheap value: copies share the cancellation. Thread-safe.
class Context {
 public:
  // No deadline, never cancelled.
  static Context Background() { return Context(INT64_MAX, nullptr); }
  static Context WithTimeoutMs(int64_t ms) { return Background().Timeout(ms); }
  // A context that Cancel() ends.
  static Result<Context> Cancellable();

  // The same cancellation, and a deadline no later than `ms` from now.
  Context Timeout(int64_t ms) const;
  // For clean-up after a failure: not cancelled with its parent, `ms` from now.
  static Context ForUndo(int64_t ms = 10'000) { return WithTimeoutMs(ms); }

  // Wakes everyone who waits in Poll(); every later Check() fails. No effect on Background().
  void Cancel() const;
  // Cancelled, DeadlineExceeded or ok; `step` names what was being done.
  Status Check(std::string_view step) const;
  // Waits until `events` (poll(2)) are there on the descriptor, the deadline or the cancellation.
  Status Poll(int fd, short events, std::string_view step) const;
  // Waits until one of several has what it waits for (`revents`), `timeout_ms` have passed (-1: no
  // limit; then none has it), or for the deadline or the cancellation.
  Status Poll(std::vector<pollfd>& fds, int timeout_ms, std::string_view step) const;
  // Milliseconds left, 0 if none, at most INT32_MAX.
  int RemainingMs() const;

 private:
  struct Cancellation {
    std::atomic<bool> cancelled{false};
    UniqueFd event;  // eventfd, readable once cancelled
  };
  Context(int64_t deadline_ns, std::shared_ptr<Cancellation> cancellation)
      : deadline_ns_(deadline_ns), cancellation_(std::move(cancellation)) {}

  int64_t deadline_ns_;  // of the monotonic clock; INT64_MAX for none
  std::shared_ptr<Cancellation> cancellation_;
};

}  // namespace berth
