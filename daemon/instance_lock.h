// One daemon to a directory.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace berth::daemon {

// Held as long as the descriptor is open; the kernel gives it up when the process ends, however
// that happens. FailedPrecondition, with the pid of the holder, if another process has it.
Result<UniqueFd> LockDirectory(const std::string& directory);

}  // namespace berth::daemon
