// What a new daemon does with what a former one left (docs/RECOVERY.md).
#pragma once

#include "base/result.h"
#include "runtime/core.h"

namespace berth::runtime {

// Fills the index from the records, gives every pod and container its true state, finishes or
// undoes what was half done, and sweeps away what no record knows. What one pod or container
// refuses is logged and never keeps the others from being recovered.
Status Recover(Core& core);

}  // namespace berth::runtime
