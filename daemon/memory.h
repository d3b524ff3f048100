// The daemon's memory: small while it is idle, which is most of the time.
#pragma once

namespace berth::daemon {

// Few arenas and prompt returns to the kernel: calls allocate in short bursts from many threads. To
// be called first of all.
void KeepHeapSmall();

// Gives back what is not in use: free heap, and the pages of programs and libraries that are only
// mapped because something ran once (starting up touches most of them). Those are still in the page
// cache, so what is needed again costs a minor fault. Takes about a millisecond; any thread.
void TrimMemory();

}  // namespace berth::daemon
