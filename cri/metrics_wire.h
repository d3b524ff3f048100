// Metrics as bytes of the protocol (api.proto, Metric). An answer has some sixty of them for each
// container, which say little but have the same labels: as objects, with a dozen strings each, they
// would cost several times what the kernel's figures cost to read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::cri {

struct WireMetric {
  std::string_view name;
  uint32_t type = 0;  // of CRI's MetricType
  int64_t timestamp_ns = 0;
  std::string_view first_labels;           // of LabelBytes
  const std::vector<std::string>& labels;  // those after them; may be any bytes
  uint64_t value = 0;
};

// Labels that several metrics begin with. UTF-8.
std::string LabelBytes(const std::vector<std::string_view>& labels);

// Appends a field that is a string or a message. `text` must be UTF-8 if it is a string.
void AppendField(std::string& out, uint32_t field, std::string_view bytes);
// Appends a field that is a Metric.
void AppendMetric(std::string& out, uint32_t field, const WireMetric& metric);

}  // namespace berth::cri
