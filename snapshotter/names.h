// The names that reach a snapshotter from outside, checked before they become part of a path.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace berth::snapshotter {

inline constexpr size_t kMaxSnapshotIdBytes = 128;

// 64 lower-case hex digits.
bool IsLayerHex(std::string_view text);
// "sha256:<hex>" -> "<hex>"; anything else is InvalidArgument.
Result<std::string> LayerHex(std::string_view diff_id);
// Letters, digits, '-' and '_', at most kMaxSnapshotIdBytes.
Status CheckSnapshotId(std::string_view id);

}  // namespace berth::snapshotter
