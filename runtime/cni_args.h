// What a pod asks of its network, in CNI's terms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "runtime/cni.h"

namespace berth::runtime {

// A Kubernetes quantity ("10M", "1.5Gi", "2e6", "500m") as a whole number, rounded up.
// InvalidArgument if it is malformed, negative or above 2^62.
Result<int64_t> ParseQuantity(std::string_view text);

// By capability name: "portMappings" (those with a host port) and "bandwidth" (from the
// annotations); what the pod does not ask for is absent. InvalidArgument names field or annotation.
Result<Json> CniCapabilities(const CniPod& pod);

// The value of CNI_ARGS. InvalidArgument for names that would add or change a pair.
Result<std::string> CniArgs(const CniPod& pod);

}  // namespace berth::runtime
