#include "tests/bench/samples.h"

#include <gtest/gtest.h>

namespace berth::bench {
namespace {

TEST(SamplesTest, PercentilesAreMeasuredValues) {
  Samples samples;
  for (int i = 20; i >= 1; --i) samples.Add(i);
  EXPECT_EQ(samples.Percentile(50), 10);
  EXPECT_EQ(samples.Percentile(95), 19);
  EXPECT_EQ(samples.Percentile(99), 20);
  EXPECT_EQ(samples.Percentile(0), 1);
}

TEST(SamplesTest, OneAndNone) {
  Samples samples;
  EXPECT_EQ(samples.Percentile(50), 0);
  samples.Add(7);
  EXPECT_EQ(samples.Percentile(1), 7);
  EXPECT_EQ(samples.Percentile(99), 7);
}

TEST(SamplesTest, AppendKeepsOrder) {
  Samples a;
  Samples b;
  a.Add(5);
  a.Add(1);
  b.Add(3);
  a.Append(b);
  EXPECT_EQ(a.count(), 3U);
  EXPECT_EQ(a.Percentile(50), 3);
}

}  // namespace
}  // namespace berth::bench
