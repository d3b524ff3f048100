#include "runtime/metric_table.h"

#include <gtest/gtest.h>

#include <set>

namespace berth::runtime {
namespace {

TEST(MetricTableTest, NamesAreOnceAndSayWhatTheyAre) {
  std::set<std::string_view> names;
  for (const MetricDescriptor& metric : kMetrics) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_TRUE(metric.name.starts_with("container_")) << metric.name;
    EXPECT_FALSE(metric.help.empty()) << metric.name;
    // Prometheus's convention.
    EXPECT_EQ(metric.name.ends_with("_total") || metric.name == "container_memory_failcnt" ||
                  metric.name == "container_fs_inodes_total",
              metric.type == MetricType::kCounter || metric.name == "container_fs_inodes_total")
        << metric.name;
  }
}

// The enumeration and the table are in the same order.
TEST(MetricTableTest, EntriesAreWhereTheEnumerationSays) {
  EXPECT_EQ(DescriptorOf(Metric::kCpuUser).name, "container_cpu_user_seconds_total");
  EXPECT_EQ(DescriptorOf(Metric::kMemoryFailures).name, "container_memory_failures_total");
  EXPECT_EQ(DescriptorOf(Metric::kHugeUsage).name, "container_hugetlb_usage_bytes");
  EXPECT_EQ(DescriptorOf(Metric::kTransmitErrors).name, "container_network_transmit_errors_total");
  EXPECT_EQ(DescriptorOf(Metric::kFsUsage).name, "container_fs_usage_bytes");
  EXPECT_EQ(DescriptorOf(Metric::kBlkioUsage).name, "container_blkio_device_usage_total");
  EXPECT_EQ(DescriptorOf(Metric::kOomEvents).name, "container_oom_events_total");
  EXPECT_EQ(DescriptorOf(Metric::kSpecMemorySwapLimit).name,
            "container_spec_memory_swap_limit_bytes");
  EXPECT_EQ(DescriptorOf(Metric::kPressureIoWaiting).name,
            "container_pressure_io_waiting_seconds_total");
}

}  // namespace
}  // namespace berth::runtime
