#include "snapshotter/usage_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

namespace berth::snapshotter {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

bool Await(const std::function<bool()>& done) {
  for (int i = 0; i < 200'000 && !done(); ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return done();
}

// A tree whose size, and what a walk of it takes, is told by the test, and the clock of it.
struct Tree {
  std::atomic<uint64_t> inodes{1};
  std::atomic<int64_t> walk_ns{0}, now_ns{kSecondNs};
  std::atomic<int> walks{0}, fences{0};
  std::atomic<bool> missing{false};

  UsageCache::Walk Walk() {
    return [this](const std::string& id, uint64_t max_inodes) -> Result<Usage> {
      if (IsFence(id)) {
        if (max_inodes != UINT64_MAX) return Error(Code::kResourceExhausted, "not now");
        ++fences;
        return Usage{};
      }
      ++walks;
      now_ns += walk_ns;
      if (missing) return Error(Code::kNotFound, "no such tree");
      if (inodes > max_inodes) return Error(Code::kResourceExhausted, "too many");
      return Usage{inodes * 4096, inodes};
    };
  }
  std::function<int64_t()> Clock() {
    return [this] { return now_ns.load(); };
  }
  static bool IsFence(const std::string& id) { return id == kFence; }
  // Until all walks that were due are done: another in the background comes after them.
  void Settle(UsageCache& cache) {
    const int before = fences;
    EXPECT_EQ(cache.Recent(kFence).code(), Code::kUnavailable);
    EXPECT_TRUE(Await([&] { return fences != before; }));
    cache.Forget(kFence);
  }

 private:
  static constexpr const char* kFence = "fence";
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
  EXPECT_TRUE(Await([&] { return cache.Recent("c").ok(); }));
  auto usage = cache.Recent("c");
  ASSERT_TRUE(usage.ok()) << usage.error().message();
  EXPECT_EQ(usage->usage.inodes, UsageCache::kQuickInodes + 1);
}

TEST(UsageCacheTest, AnOldValueIsRenewed) {
  Tree tree;
  UsageCache cache(tree.Walk(), tree.Clock());
  ASSERT_TRUE(cache.Recent("c").ok());
  tree.inodes = 2;
  tree.now_ns += UsageCache::kMinAgeNs;
  EXPECT_EQ(cache.Recent("c")->usage.inodes, 1u);  // asks for it
  tree.Settle(cache);
  EXPECT_EQ(cache.Recent("c")->usage.inodes, 2u);
  EXPECT_EQ(tree.walks, 2);
}

// The ages at which a tree that is asked for every second is walked again, `count` of them.
std::vector<int64_t> AgesInSeconds(UsageCache& cache, Tree& tree, size_t count) {
  std::vector<int64_t> ages;
  for (int64_t age = 1; ages.size() < count && age < 10'000; ++age) {
    const int walks = tree.walks;
    tree.now_ns += kSecondNs;
    EXPECT_TRUE(cache.Recent("c").ok());
    tree.Settle(cache);
    if (tree.walks == walks) continue;
    ages.push_back(age);
    age = 0;
  }
  return ages;
}

TEST(UsageCacheTest, WhatStaysTheSameIsWalkedMoreSeldomUntilItChanges) {
  Tree tree;
  UsageCache cache(tree.Walk(), tree.Clock());
  ASSERT_TRUE(cache.Recent("c").ok());
  EXPECT_EQ(AgesInSeconds(cache, tree, 6), (std::vector<int64_t>{5, 10, 20, 40, 60, 60}));
  tree.inodes = 2;
  EXPECT_EQ(AgesInSeconds(cache, tree, 3), (std::vector<int64_t>{60, 5, 10}));
  tree.inodes = 3;
  EXPECT_EQ(AgesInSeconds(cache, tree, 3), (std::vector<int64_t>{20, 5, 10}));
}

TEST(UsageCacheTest, WalksOfOneTreeTakeItsShareOfTheTime) {
  Tree tree;
  tree.walk_ns = 1'600'000'000;
  UsageCache cache(tree.Walk(), tree.Clock());
  ASSERT_TRUE(cache.Recent("c").ok());
  EXPECT_EQ(
      AgesInSeconds(cache, tree, 2),
      (std::vector<int64_t>{16 * UsageCache::kTimeShare / 10, 16 * UsageCache::kTimeShare / 10}));
}

TEST(UsageCacheTest, WalksOfManyTreesTakeTheSameShareTogether) {
  constexpr int kSmallOnes = 19;
  constexpr int64_t kWhileNs = 5000 * kSecondNs;
  Tree small, large;
  large.walk_ns = kSecondNs;
  small.walk_ns = kSecondNs / 100;
  // One clock for both.
  std::atomic<int64_t> now_ns{kSecondNs};
  UsageCache cache(
      [&, walk_small = small.Walk(), walk_large = large.Walk()](const std::string& id,
                                                                uint64_t max_inodes) {
        const bool is_large = id == "large";
        if (!small.IsFence(id)) now_ns += is_large ? large.walk_ns : small.walk_ns;
        return is_large ? walk_large(id, max_inodes) : walk_small(id, max_inodes);
      },
      [&] { return now_ns.load(); });
  std::vector<std::string> names = {"large"};
  for (int i = 0; i < kSmallOnes; ++i) names.push_back(StrCat("small", i));
  for (const std::string& name : names) ASSERT_TRUE(cache.Recent(name).ok());
  const int64_t begin_ns = now_ns;
  small.walks = large.walks = 0;
  while (now_ns - begin_ns < kWhileNs) {
    now_ns += kSecondNs;
    ++small.inodes;  // always changed
    ++large.inodes;
    for (const std::string& name : names) ASSERT_TRUE(cache.Recent(name).ok());
    small.Settle(cache);
  }
  const int64_t walked_ns = small.walks * small.walk_ns + large.walks * large.walk_ns;
  EXPECT_LE(walked_ns, kWhileNs / UsageCache::kTimeShare);
  EXPECT_GE(walked_ns, kWhileNs / UsageCache::kTimeShare / 2);
  EXPECT_GE(large.walks, 2);
  EXPECT_GE(small.walks / kSmallOnes, 8 * large.walks);
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
