// Where the log goes: stderr, or the journal if stderr leads there.
#pragma once

namespace berth::daemon {

// Call once, before anything is logged. To the journal go priorities instead of glog's prefix, as
// the journal has time and process by itself. `level`: 0 all, 1 warnings and errors, 2 errors.
void StartLogging(const char* program, int level);

// From now on; any thread.
void SetLogLevel(int level);

}  // namespace berth::daemon
