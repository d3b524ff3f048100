#include "runtime/pod_cgroup.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace berth::runtime {
namespace {

TEST(PodLimits, OverheadComesOnTopOfEachLimit) {
  LinuxResources pod;
  pod.cpu_shares = 512;
  pod.memory_limit_bytes = 100;
  pod.memory_swap_limit_bytes = 150;
  LinuxResources overhead;
  overhead.cpu_shares = 256;
  overhead.memory_limit_bytes = 20;
  const LinuxResources sum = WithOverhead(pod, overhead);
  EXPECT_EQ(sum.cpu_shares, 768);
  EXPECT_EQ(sum.memory_limit_bytes, 120);
  EXPECT_EQ(sum.memory_swap_limit_bytes, 170);
}

TEST(PodLimits, QuotasOfDifferentPeriodsAreAddedAsShares) {
  LinuxResources pod;
  pod.cpu_period_us = 50'000;
  pod.cpu_quota_us = 25'000;  // half a processor
  LinuxResources overhead;
  overhead.cpu_quota_us = 25'000;  // a quarter, of the period that is meant by none
  const LinuxResources sum = WithOverhead(pod, overhead);
  EXPECT_EQ(sum.cpu_period_us, 50'000);
  EXPECT_EQ(sum.cpu_quota_us, 37'500);
}

TEST(PodLimits, OverheadAloneLimitsNothing) {
  LinuxResources overhead;
  overhead.cpu_shares = 256;
  overhead.cpu_quota_us = 10'000;
  overhead.memory_limit_bytes = 20 << 20;
  LinuxResources unlimited;
  unlimited.memory_limit_bytes = -1;
  unlimited.cpu_quota_us = -1;
  EXPECT_EQ(WithOverhead({}, overhead).memory_limit_bytes, 0);
  EXPECT_EQ(WithOverhead({}, overhead).cpu_quota_us, 0);
  EXPECT_EQ(WithOverhead({}, overhead).cpu_shares, 0);
  EXPECT_EQ(WithOverhead(unlimited, overhead).memory_limit_bytes, -1);
  EXPECT_EQ(WithOverhead(unlimited, overhead).cpu_quota_us, -1);
}

TEST(PodLimits, SumsDoNotOverflow) {
  LinuxResources pod;
  pod.memory_limit_bytes = INT64_MAX - 1;
  LinuxResources overhead;
  overhead.memory_limit_bytes = 4096;
  EXPECT_EQ(WithOverhead(pod, overhead).memory_limit_bytes, INT64_MAX);
}

}  // namespace
}  // namespace berth::runtime
