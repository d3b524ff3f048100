#include "runtime/meters.h"

#include <gtest/gtest.h>

namespace berth::runtime {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(CpuRateTest, IsTheUseBetweenTheLastTwoSamples) {
  CpuRate rate;
  EXPECT_EQ(rate.Update(5 * kSecond, 100), std::nullopt);
  EXPECT_EQ(rate.Update(7 * kSecond, 100 + kSecond), kSecond / 2);
  EXPECT_EQ(rate.Update(8 * kSecond, 100 + 3 * kSecond), 2 * kSecond);
  EXPECT_EQ(rate.Update(9 * kSecond, 100 + 3 * kSecond), 0u);
}

TEST(CpuRateTest, SamplesThatAreTooCloseGiveTheRateBefore) {
  CpuRate rate;
  EXPECT_EQ(rate.Update(5 * kSecond, 0), std::nullopt);
  EXPECT_EQ(rate.Update(5 * kSecond + 1, 1000), std::nullopt);
  EXPECT_EQ(rate.Update(6 * kSecond, kSecond), kSecond);
  EXPECT_EQ(rate.Update(6 * kSecond + 1, 5 * kSecond), kSecond);
}

TEST(CpuRateTest, ACounterThatWentBackGivesNone) {
  CpuRate rate;
  EXPECT_EQ(rate.Update(5 * kSecond, 1000), std::nullopt);
  EXPECT_EQ(rate.Update(6 * kSecond, 10), std::nullopt);
  EXPECT_EQ(rate.Update(7 * kSecond, 10 + kSecond), kSecond);
}

}  // namespace
}  // namespace berth::runtime
