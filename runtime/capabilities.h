// Linux capabilities (capabilities(7)) by name and as bit sets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace berth::runtime {

// Bit n is capability number n, as in /proc/PID/status and capset(2).
using CapabilitySet = uint64_t;

inline constexpr int kLastCapability = 40;  // CAP_CHECKPOINT_RESTORE
inline constexpr CapabilitySet kAllCapabilities = (CapabilitySet{1} << (kLastCapability + 1)) - 1;

// The number of "CAP_CHOWN", "CHOWN" or "chown"; nothing for a name that is not in the table.
std::optional<int> CapabilityNumber(std::string_view name);

// Names with prefix, "CAP_CHOWN", in the order of their numbers. Bits above the table are left out.
std::vector<std::string> CapabilityNames(CapabilitySet set);
// InvalidArgument names the first unknown one.
Result<CapabilitySet> CapabilitiesFromNames(const std::vector<std::string>& names);

// What a container gets that asks for nothing: the 14 that Docker and containerd give.
CapabilitySet DefaultCapabilities();

// The bounding set of this process: a container cannot get more. Read once.
CapabilitySet OwnBoundingSet();

}  // namespace berth::runtime
