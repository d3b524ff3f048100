#include "cri/metrics_wire.h"

#include "base/utf8.h"
#include "cri/pb.h"

namespace berth::cri {

namespace {

// Of the encoding (protobuf.dev/programming-guides/encoding): what a field's number is followed by.
enum WireType : uint32_t { kVarint = 0, kLengthDelimited = 2 };

void AppendVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >>= 7) ++size;
  return size;
}

// The numbers of all fields here have one byte.
size_t FieldSize(size_t bytes) {
  return 1 + VarintSize(bytes) + bytes;
}

void AppendTag(std::string& out, uint32_t field, WireType type) {
  AppendVarint(out, field << 3 | type);
}

// A number of 0 is the default and is left out.
size_t NumberSize(uint64_t value) {
  return value == 0 ? 0 : 1 + VarintSize(value);
}

void AppendNumber(std::string& out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  AppendTag(out, field, kVarint);
  AppendVarint(out, value);
}

}  // namespace

void AppendField(std::string& out, uint32_t field, std::string_view bytes) {
  AppendTag(out, field, kLengthDelimited);
  AppendVarint(out, bytes.size());
  out += bytes;
}

std::string LabelBytes(const std::vector<std::string_view>& labels) {
  std::string out;
  for (std::string_view label : labels) {
    AppendField(out, pb::Metric::kLabelValuesFieldNumber, label);
  }
  return out;
}

void AppendMetric(std::string& out, uint32_t field, const WireMetric& metric) {
  std::string labels;
  for (const std::string& label : metric.labels) {
    AppendField(labels, pb::Metric::kLabelValuesFieldNumber, ToUtf8(label));
  }
  const auto timestamp = static_cast<uint64_t>(metric.timestamp_ns);
  const size_t value_size = NumberSize(metric.value);
  AppendTag(out, field, kLengthDelimited);
  AppendVarint(out, FieldSize(metric.name.size()) + NumberSize(timestamp) +
                        NumberSize(metric.type) + metric.first_labels.size() + labels.size() +
                        FieldSize(value_size));
  AppendField(out, pb::Metric::kNameFieldNumber, metric.name);
  AppendNumber(out, pb::Metric::kTimestampFieldNumber, timestamp);
  AppendNumber(out, pb::Metric::kMetricTypeFieldNumber, metric.type);
  out += metric.first_labels;
  out += labels;
  AppendTag(out, pb::Metric::kValueFieldNumber, kLengthDelimited);
  AppendVarint(out, value_size);
  AppendNumber(out, pb::UInt64Value::kValueFieldNumber, metric.value);
}

}  // namespace berth::cri
