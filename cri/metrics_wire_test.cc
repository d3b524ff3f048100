#include "cri/metrics_wire.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "cri/pb.h"

namespace berth::cri {
namespace {

struct Sample {
  std::string name;
  pb::MetricType type;
  int64_t timestamp_ns;
  std::vector<std::string_view> first_labels;
  std::vector<std::string> labels;
  uint64_t value;
};

// Short and long ones, numbers of every length, and what the encoding leaves out.
std::vector<Sample> Samples() {
  static const std::string kLong(300, 'l');
  return {
      {"a", pb::COUNTER, 0, {}, {}, 0},
      {"container_memory_usage_bytes",
       pb::GAUGE,
       1'790'000'000'000'000'000,
       {"id", "", "image"},
       {},
       127},
      {std::string(200, 'n'), pb::GAUGE, 1, {kLong, kLong}, {kLong, ""}, 128},
      {"negative", pb::COUNTER, -1, {"x"}, {"/dev/vda", "254", "0", "Read"}, UINT64_MAX},
      {"bytes", pb::GAUGE, 0, {}, {"\xff\xfe", "\xc3\xa9"}, uint64_t{1} << 63},
  };
}

TEST(MetricsWire, IsWhatProtobufWrites) {
  pb::ContainerMetrics expected;
  expected.set_container_id("abc");
  std::string bytes;
  AppendField(bytes, pb::ContainerMetrics::kContainerIdFieldNumber, "abc");
  for (const Sample& sample : Samples()) {
    pb::Metric* metric = expected.add_metrics();
    metric->set_name(sample.name);
    metric->set_metric_type(sample.type);
    metric->set_timestamp(sample.timestamp_ns);
    for (std::string_view label : sample.first_labels) metric->add_label_values(std::string(label));
    for (const std::string& label : sample.labels) metric->add_label_values(ToUtf8(label));
    metric->mutable_value()->set_value(sample.value);
    AppendMetric(bytes, pb::ContainerMetrics::kMetricsFieldNumber,
                 {sample.name, static_cast<uint32_t>(sample.type), sample.timestamp_ns,
                  LabelBytes(sample.first_labels), sample.labels, sample.value});
  }
  EXPECT_EQ(bytes, expected.SerializeAsString());
  pb::ContainerMetrics parsed;
  ASSERT_TRUE(parsed.ParseFromString(bytes));
  EXPECT_EQ(parsed.DebugString(), expected.DebugString());
}

// What is appended to a message as bytes comes out of it as if it had been set.
TEST(MetricsWire, AnAnswerTakesItAsItsOwnFields) {
  pb::PodSandboxMetrics pod;
  pod.set_pod_sandbox_id("pod");
  pod.add_metrics()->set_name("m");
  pb::ListPodSandboxMetricsResponse answer;
  for (int i = 0; i < 2; ++i) {
    answer.GetReflection()->MutableUnknownFields(&answer)->AddLengthDelimited(
        pb::ListPodSandboxMetricsResponse::kPodMetricsFieldNumber, pod.SerializeAsString());
  }
  pb::ListPodSandboxMetricsResponse read;
  ASSERT_TRUE(read.ParseFromString(answer.SerializeAsString()));
  ASSERT_EQ(read.pod_metrics_size(), 2);
  EXPECT_EQ(read.pod_metrics(1).metrics(0).name(), "m");
  EXPECT_TRUE(read.GetReflection()->GetUnknownFields(read).empty());
}

}  // namespace
}  // namespace berth::cri
