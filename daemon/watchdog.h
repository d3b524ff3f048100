// Whether the daemon still does its work: what systemd's watchdog is fed with.
#pragma once

#include <cstdint>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"

namespace berth::daemon {

// Ok if, within `timeout_ms` each, the loop runs a task and a call of CRI through the socket is
// answered. The call needs a thread of gRPC and the index of pods, so it hangs if they do. Blocks
// as long; DeadlineExceeded or what the call said. The loop must outlive the task, which runs
// later if it was late.
Status CheckAlive(EventLoop& loop, const std::string& socket, int64_t timeout_ms);

}  // namespace berth::daemon
