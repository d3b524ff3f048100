// The daemon's memory: small while it is idle, which is most of the time.
#pragma once

namespace berth::daemon {

// Few arenas and prompt returns to the kernel: calls allocate in short bursts from many threads. To
// be called first of all.
void KeepHeapSmall();

// Gives free heap back to the kernel. Takes about a millisecond; any thread.
void TrimMemory();

}  // namespace berth::daemon
