// What went over the interfaces of a pod's network namespace.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::runtime {

struct InterfaceSample {
  std::string name;
  uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};

// The interface that CNI makes for a pod.
inline constexpr std::string_view kDefaultInterface = "eth0";

// The namespace's net/dev of procfs. The file stays with the namespace whatever the reader's own
// is, so one pread(2) is a reading, and nobody has to go there again. It keeps the namespace alive
// as long as it is open. Runs in a short-lived thread; the caller's namespace stays as it is.
Result<UniqueFd> OpenNetworkStats(const std::string& netns_path);

// All interfaces but the loopback.
Result<std::vector<InterfaceSample>> ReadNetworkStats(int net_dev);
std::vector<InterfaceSample> ParseNetworkStats(std::string_view text);

}  // namespace berth::runtime
