// What writable layers take on disk, without a walk for every question.
//
// The kernel counts that by itself only for project quotas, and a file system has these only if it
// was mounted so, which nodes' usually are not. So trees are walked, but by one thread of the
// lowest priority, and only those that somebody asks for: one that was asked for and is older than
// kMinAgeNs, and than kAgeFactor times what its last walk took, is walked again. A tree costs at
// most 1 % of a processor however large it is, and a question a look into a table.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/sync.h"
#include "snapshotter/background.h"
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

// Thread-safe.
class UsageCache {
 public:
  static constexpr int64_t kMinAgeNs = 5'000'000'000;
  static constexpr int64_t kAgeFactor = 100;
  // A tree of no more inodes is measured while the first question for it waits.
  static constexpr uint64_t kQuickInodes = 500;

  // Walks the tree of that name; ResourceExhausted if it has more than `max_inodes`. Called from
  // several threads; it owns what it uses.
  using Walk = std::function<Result<Usage>(const std::string& id, uint64_t max_inodes)>;
  explicit UsageCache(Walk walk);

  // Walks now, and remembers the result.
  Result<Usage> Measure(const std::string& id);
  // What is remembered. Unavailable while a large tree is walked for the first time.
  Result<MeasuredUsage> Recent(const std::string& id);
  void Forget(const std::string& id);

 private:
  struct Entry {
    std::optional<MeasuredUsage> measured;
    int64_t walked_at_ns = 0;  // monotonic clock
    int64_t walk_ns = 0;       // what it took
    bool queued = false;
  };
  struct Shared {
    Walk walk;
    Mutex mutex;
    std::map<std::string, Entry> entries GUARDED_BY(mutex);
  };
  static Result<MeasuredUsage> WalkNow(Shared& shared, const std::string& id, uint64_t max_inodes);
  void Queue(const std::string& id);

  std::shared_ptr<Shared> shared_;
  Background walker_;
};

}  // namespace berth::snapshotter
