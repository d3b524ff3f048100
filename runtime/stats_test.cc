#include "runtime/stats.h"

#include <gtest/gtest.h>

namespace berth::runtime {
namespace {

ContainerUsage Usage(uint64_t amount) {
  ContainerUsage usage;
  usage.reading = Reading();
  usage.reading->timestamp_ns = static_cast<int64_t>(amount);
  usage.reading->cpu_nano_cores = amount;
  CgroupSample& sample = usage.reading->sample;
  sample.cpu_usage_ns = amount;
  sample.tasks = amount;
  sample.memory = MemorySample();
  sample.memory->working_set_bytes = amount;
  sample.memory->limit_bytes = amount;
  sample.swap = SwapSample{amount, amount};
  sample.cpu_pressure = Pressure();
  return usage;
}

TEST(SumOfReadingsTest, AddsWhatEveryContainerHas) {
  auto sum = SumOfReadings({Usage(1), Usage(20), Usage(300)});
  ASSERT_TRUE(sum);
  EXPECT_EQ(sum->timestamp_ns, 300);
  EXPECT_EQ(sum->cpu_nano_cores, 321u);
  EXPECT_EQ(sum->sample.cpu_usage_ns, 321u);
  EXPECT_EQ(sum->sample.tasks, 321u);
  EXPECT_EQ(sum->sample.memory->working_set_bytes, 321u);
  EXPECT_EQ(sum->sample.memory->limit_bytes, 321u);
  EXPECT_EQ(sum->sample.swap->usage_bytes, 321u);
  EXPECT_FALSE(sum->sample.cpu_pressure);
}

TEST(SumOfReadingsTest, WhatOneDoesNotHaveTheSumHasNot) {
  ContainerUsage without = Usage(1);
  without.reading->cpu_nano_cores.reset();
  without.reading->sample.memory->limit_bytes.reset();
  without.reading->sample.swap.reset();
  for (const auto& both : {std::vector{Usage(20), without}, std::vector{without, Usage(20)}}) {
    auto sum = SumOfReadings(both);
    ASSERT_TRUE(sum);
    EXPECT_FALSE(sum->cpu_nano_cores);
    EXPECT_FALSE(sum->sample.memory->limit_bytes);
    EXPECT_FALSE(sum->sample.swap);
    EXPECT_EQ(sum->sample.cpu_usage_ns, 21u);
  }
  EXPECT_FALSE(SumOfReadings({}));
  EXPECT_FALSE(SumOfReadings({ContainerUsage()}));
}

}  // namespace
}  // namespace berth::runtime
