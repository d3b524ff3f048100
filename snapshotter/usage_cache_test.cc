#include "snapshotter/usage_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/time.h"

namespace berth::snapshotter {
namespace {

// A tree whose size is told by the test.
struct Tree {
  std::atomic<uint64_t> inodes{1};
  std::atomic<int> walks{0};
  std::atomic<bool> missing{false};

  UsageCache::Walk Walk() {
    return [this](const std::string&, uint64_t max_inodes) -> Result<Usage> {
      ++walks;
      if (missing) return Error(Code::kNotFound, "no such tree");
      if (inodes > max_inodes) return Error(Code::kResourceExhausted, "too many");
      return Usage{inodes * 4096, inodes};
    };
  }
};

TEST(UsageCacheTest, ASmallTreeIsKnownAtOnceAndNotWalkedAgainSoon) {
  Tree tree;
  UsageCache cache(tree.Walk());
  const int64_t before_ns = WallNs();
  auto first = cache.Recent("c");
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_EQ(first->usage.inodes, 1u);
  EXPECT_GE(first->measured_at_ns, before_ns);
  tree.inodes = 2;
  auto second = cache.Recent("c");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->usage.inodes, 1u);
  EXPECT_EQ(second->measured_at_ns, first->measured_at_ns);
  EXPECT_EQ(tree.walks, 1);
}

TEST(UsageCacheTest, ALargeTreeIsMeasuredInTheBackground) {
  Tree tree;
  tree.inodes = UsageCache::kQuickInodes + 1;
  UsageCache cache(tree.Walk());
  EXPECT_EQ(cache.Recent("c").code(), Code::kUnavailable);
  for (int i = 0; i < 1000 && !cache.Recent("c").ok(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  auto usage = cache.Recent("c");
  ASSERT_TRUE(usage.ok()) << usage.error().message();
  EXPECT_EQ(usage->usage.inodes, UsageCache::kQuickInodes + 1);
}

TEST(UsageCacheTest, AnOldValueIsRenewed) {
  Tree tree;
  UsageCache cache(tree.Walk());
  ASSERT_TRUE(cache.Recent("c").ok());
  tree.inodes = 2;
  std::this_thread::sleep_for(std::chrono::nanoseconds(UsageCache::kMinAgeNs));
  ASSERT_TRUE(cache.Recent("c").ok());  // asks for it
  uint64_t inodes = 0;
  for (int i = 0; i < 1000 && inodes != 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    inodes = cache.Recent("c")->usage.inodes;
  }
  EXPECT_EQ(inodes, 2u);
  EXPECT_EQ(tree.walks, 2);
}

TEST(UsageCacheTest, MeasureWalksAndIsRemembered) {
  Tree tree;
  UsageCache cache(tree.Walk());
  ASSERT_TRUE(cache.Recent("c").ok());
  tree.inodes = 7;
  EXPECT_EQ(cache.Measure("c")->inodes, 7u);
  EXPECT_EQ(cache.Recent("c")->usage.inodes, 7u);
}

TEST(UsageCacheTest, WhatIsForgottenOrGoneIsNotKnown) {
  Tree tree;
  UsageCache cache(tree.Walk());
  ASSERT_TRUE(cache.Recent("c").ok());
  cache.Forget("c");
  tree.missing = true;
  EXPECT_EQ(cache.Recent("c").code(), Code::kNotFound);
  EXPECT_EQ(cache.Measure("c").code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth::snapshotter
