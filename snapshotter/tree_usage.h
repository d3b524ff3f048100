// What a directory tree takes on disk, as du counts.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

// Walks the tree below `dir` by descriptors: two are open at a time, symlinks are not followed,
// other file systems are not entered, and a file with several names counts once. The tree may
// change meanwhile (a container writes in it): what vanishes is not counted; Aborted if directories
// moved under the walk three times in a row, ResourceExhausted if it has more than `max_inodes`.
Result<Usage> TreeUsage(int dir, uint64_t max_inodes = UINT64_MAX);

}  // namespace berth::snapshotter
