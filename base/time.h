// Clock readings. CRI's timestamps are nanoseconds since 1970 (api.proto, "in nanoseconds").
#pragma once

#include <ctime>

#include <cstdint>

namespace berth {

inline int64_t ClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}
// Wall clock, for what users see.
inline int64_t WallNs() {
  return ClockNs(CLOCK_REALTIME);
}
// Monotonic clock, for durations and deadlines.
inline int64_t MonotonicNs() {
  return ClockNs(CLOCK_MONOTONIC);
}

}  // namespace berth
