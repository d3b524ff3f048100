#include "runtime/network_stats.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>

#include "base/file.h"
#include "base/thread.h"

namespace berth::runtime {

namespace {

// A line has some 120 bytes; a pod with more than a thousand interfaces is cut.
constexpr size_t kMaxBytes = 128 << 10;

struct Column {
  size_t index;  // in the line of net/dev, after the name
  uint64_t InterfaceSample::*field;
};
constexpr std::array<Column, 8> kColumns = {{{0, &InterfaceSample::rx_bytes},
                                             {1, &InterfaceSample::rx_packets},
                                             {2, &InterfaceSample::rx_errors},
                                             {3, &InterfaceSample::rx_dropped},
                                             {8, &InterfaceSample::tx_bytes},
                                             {9, &InterfaceSample::tx_packets},
                                             {10, &InterfaceSample::tx_errors},
                                             {11, &InterfaceSample::tx_dropped}}};

// "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"; false for what is no such line.
bool ParseLine(std::string_view line, InterfaceSample& out) {
  // A name may hold colons (aliases), numbers do not.
  const size_t colon = line.rfind(':');
  if (colon == std::string_view::npos) return false;
  out.name = Trim(line.substr(0, colon));
  size_t index = 0, next = 0;
  for (std::string_view word : Split(line.substr(colon + 1), ' ')) {
    if (word.empty()) continue;
    auto value = ParseNumber<uint64_t>(word);
    if (!value) return false;
    if (next < kColumns.size() && kColumns[next].index == index) {
      out.*kColumns[next++].field = *value;
    }
    ++index;
  }
  return next == kColumns.size();
}

}  // namespace

Result<UniqueFd> OpenNetworkStats(const std::string& netns_path) {
  ASSIGN_OR_RETURN(UniqueFd netns, Open(netns_path, O_RDONLY));
  return RunInThread([&]() -> Result<UniqueFd> {
    if (setns(netns.get(), CLONE_NEWNET) != 0) return ErrnoError(StrCat("enter ", netns_path));
    return Open("/proc/thread-self/net/dev", O_RDONLY);
  });
}

Result<std::vector<InterfaceSample>> ReadNetworkStats(int net_dev) {
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < kMaxBytes) {
    const ssize_t n = pread(net_dev, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError("read net/dev");
    if (n == 0) break;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  return ParseNetworkStats(text);
}

std::vector<InterfaceSample> ParseNetworkStats(std::string_view text) {
  std::vector<InterfaceSample> interfaces;
  for (std::string_view line : Split(text, '\n')) {
    InterfaceSample sample;
    if (ParseLine(line, sample) && sample.name != "lo") interfaces.push_back(std::move(sample));
  }
  return interfaces;
}

}  // namespace berth::runtime
