// What writable layers take on disk, without a walk for every question.
//
// The kernel counts that by itself only for project quotas. A file system has these only if it was
// mounted so, and outside of a user namespace whoever owns a file may give it to another project
// (FS_IOC_FSSETXATTR, through overlayfs, too; kernel 6.18): a container could hide what it writes.
//
// So trees are walked by one thread of the lowest priority, and only those that somebody asks for.
// One that has changed is walked again at the next question that comes kMinAgeNs later; one that is
// as before waits twice as long as the last time, kMaxIdleNs at most. All walks together take
// 1/kTimeShare of one processor, however many trees there are and however large: of that each gets
// a part by the root of what its walk takes, which keeps small ones young beside a large one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/sync.h"
#include "base/time.h"
#include "snapshotter/background.h"
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

// Thread-safe.
class UsageCache {
 public:
  static constexpr int64_t kMinAgeNs = 5'000'000'000;
  static constexpr int64_t kMaxIdleNs = 60'000'000'000;
  static constexpr int64_t kTimeShare = 400;
  // A tree of no more inodes is measured while the first question for it waits.
  static constexpr uint64_t kQuickInodes = 500;

  // Walks the tree of that name; ResourceExhausted if it has more than `max_inodes`. Called from
  // several threads; it owns what it uses.
  using Walk = std::function<Result<Usage>(const std::string& id, uint64_t max_inodes)>;
  // `clock` is MonotonicNs() but in tests.
  explicit UsageCache(Walk walk, std::function<int64_t()> clock = MonotonicNs);

  // Walks now, and remembers the result.
  Result<Usage> Measure(const std::string& id);
  // What is remembered. Unavailable while a large tree is walked for the first time.
  Result<MeasuredUsage> Recent(const std::string& id);
  void Forget(const std::string& id);

 private:
  struct Entry {
    std::optional<MeasuredUsage> measured;
    int64_t walked_at_ns = 0;     // monotonic clock
    int64_t idle_ns = kMinAgeNs;  // how old it may get before it is walked again
    double walk_root = 0;         // of the nanoseconds that the last walk took
    bool queued = false;
  };
  struct Shared {
    Walk walk;
    std::function<int64_t()> clock;
    Mutex mutex;
    std::map<std::string, Entry> entries GUARDED_BY(mutex);
    double walk_roots GUARDED_BY(mutex) = 0;  // the sum of the entries'

    void Drop(const std::string& id) REQUIRES(mutex);
    bool IsDue(const Entry& entry) const REQUIRES(mutex);
  };
  static Result<MeasuredUsage> WalkNow(Shared& shared, const std::string& id, uint64_t max_inodes);
  void Queue(const std::string& id);

  std::shared_ptr<Shared> shared_;
  Background walker_;
};

}  // namespace berth::snapshotter
