#include "snapshotter/layer_syncer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/time.h"

namespace berth::snapshotter {
namespace {

using std::chrono::milliseconds;

struct Counter {
  std::atomic<int> syncs{0};
  std::atomic<int64_t> last_ns{0};
};

class LayerSyncerTest : public testing::Test {
 protected:
  std::shared_ptr<Counter> counter_ = std::make_shared<Counter>();
  LayerSyncer syncer_{[counter = counter_]() -> Status {
    ++counter->syncs;
    counter->last_ns = MonotonicNs();
    return Ok();
  }};

  bool AwaitSyncs(int count) {
    for (int i = 0; i < 3000 && counter_->syncs < count; ++i) {
      std::this_thread::sleep_for(milliseconds(10));
    }
    return counter_->syncs == count;
  }
};

TEST_F(LayerSyncerTest, SyncsAtOnceWhereNothingIsWritten) {
  syncer_.Schedule();
  EXPECT_TRUE(AwaitSyncs(1));
  syncer_.Schedule();
  EXPECT_TRUE(AwaitSyncs(2));
}

TEST_F(LayerSyncerTest, WaitsForTheLastWriter) {
  auto one = syncer_.Writing();
  auto other = syncer_.Writing();
  syncer_.Schedule();
  one.reset();
  syncer_.Schedule();  // covered by the first
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(counter_->syncs, 0);
  other.reset();
  EXPECT_TRUE(AwaitSyncs(1));
}

TEST_F(LayerSyncerTest, ButNotForEver) {
  const int64_t begin_ns = MonotonicNs();
  auto writing = syncer_.Writing();
  syncer_.Schedule();
  ASSERT_TRUE(AwaitSyncs(1));
  EXPECT_GE(counter_->last_ns - begin_ns, (LayerSyncer::kMaxDelayMs - 1) * 1'000'000);
}

TEST(LayerSyncer, ItsEndDoesNotWaitForWriters) {
  auto counter = std::make_shared<Counter>();
  std::shared_ptr<void> writing;
  const int64_t begin_ns = MonotonicNs();
  {
    LayerSyncer syncer([counter]() -> Status {
      ++counter->syncs;
      return Ok();
    });
    writing = syncer.Writing();
    syncer.Schedule();
  }
  EXPECT_LT(MonotonicNs() - begin_ns, Background::kMaxWaitMs * 1'000'000);
  EXPECT_EQ(counter->syncs, 0);
  writing.reset();  // outlives it
}

}  // namespace
}  // namespace berth::snapshotter
