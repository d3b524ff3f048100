// The children of the shim: those that it has started, and orphans that have come to it as their
// subreaper. All of them are waited for here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <optional>

#include "base/result.h"

namespace berth::shim {

class Children {
 public:
  struct Ended {
    pid_t pid;
    int wait_status;      // wait(2)
    int64_t ended_at_ns;  // wall clock, when it was reaped
  };

  // `signals`: a non-blocking signalfd(2) of SIGCHLD, borrowed.
  explicit Children(int signals) : signals_(signals) {}

  // The next one that has ended; none if all others live.
  std::optional<Ended> Next();
  // Whether Next has one even if the signalfd is not readable.
  bool HasEnded() const { return !ended_.empty(); }

  // Waits for that one and returns its wait status. Whoever else ends meanwhile is reaped, and
  // Next's: an OCI runtime may wait for a process to be gone that has become our zombie.
  // DeadlineExceeded leaves it as it is.
  Result<int> WaitFor(pid_t pid, int64_t timeout_ms);

 private:
  std::optional<Ended> Reap();

  int signals_;
  std::deque<Ended> ended_;
};

}  // namespace berth::shim
