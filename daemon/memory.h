// The daemon's memory: small while it is idle, which is most of the time.
#pragma once

namespace berth::daemon {

// Few arenas and prompt returns to the kernel: calls allocate in short bursts from many threads. To
// be called first of all.
void KeepHeapSmall();

// Takes the code and constants of the program and its libraries out of the page table. What only
// the start has used, symbol tables and initialisation, is two thirds of them and stays out; the
// rest comes back from the page cache as it is touched. To be called when the daemon is up; any
// thread.
void ForgetStartup();

// Gives free heap back to the kernel. Takes about a millisecond; any thread.
void TrimMemory();

}  // namespace berth::daemon
