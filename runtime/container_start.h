// The steps of StartContainer.
#pragma once

#include "base/context.h"
#include "base/result.h"
#include "runtime/core.h"

namespace berth::runtime {

// On failure of the start itself the container is recorded as exited (StartError, 128).
// FailedPrecondition, and no change, if it is not in the state to be started.
Status StartContainer(Core& core, const Context& context, ContainerEntry& entry);

}  // namespace berth::runtime
