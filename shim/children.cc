#include "shim/children.h"

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/context.h"
#include "base/time.h"

namespace berth::shim {

std::optional<Children::Ended> Children::Reap() {
  int status = 0;
  const pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
  if (pid <= 0) return std::nullopt;
  return Ended{pid, status, WallNs()};
}

std::optional<Children::Ended> Children::Next() {
  if (ended_.empty()) return Reap();
  const Ended first = ended_.front();
  ended_.pop_front();
  return first;
}

Result<int> Children::WaitFor(pid_t pid, int64_t timeout_ms) {
  const Context context = Context::WithTimeoutMs(timeout_ms);
  for (;;) {
    signalfd_siginfo info{};
    // Before the look at them, so that whoever ends after it is told anew.
    (void)!read(signals_, &info, sizeof info);
    while (auto ended = Reap()) ended_.push_back(*ended);
    auto found = std::find_if(ended_.begin(), ended_.end(),
                              [pid](const Ended& ended) { return ended.pid == pid; });
    if (found != ended_.end()) {
      const int status = found->wait_status;
      ended_.erase(found);
      return status;
    }
    RETURN_IF_ERROR(context.Poll(signals_, POLLIN, "wait for process"));
  }
}

}  // namespace berth::shim
