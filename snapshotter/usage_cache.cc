#include "snapshotter/usage_cache.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace berth::snapshotter {

UsageCache::UsageCache(Walk walk, std::function<int64_t()> clock)
    : shared_(std::make_shared<Shared>()) {
  shared_->walk = std::move(walk);
  shared_->clock = std::move(clock);
  // Of this thread alone, and of the disk's scheduler, which goes by it.
  walker_.Post([] { (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19); });
}

void UsageCache::Shared::Drop(const std::string& id) {
  auto found = entries.find(id);
  if (found == entries.end()) return;
  walk_roots -= found->second.walk_root;
  entries.erase(found);
}

bool UsageCache::Shared::IsDue(const Entry& entry) const {
  const double fair_ns = entry.walk_root * walk_roots * kTimeShare;
  const int64_t age_ns = clock() - entry.walked_at_ns;
  return age_ns >= entry.idle_ns && static_cast<double>(age_ns) >= fair_ns;
}

Result<MeasuredUsage> UsageCache::WalkNow(Shared& shared, const std::string& id,
                                          uint64_t max_inodes) {
  const int64_t begin_ns = shared.clock();
  auto usage = shared.walk(id, max_inodes);
  const int64_t end_ns = shared.clock();
  MutexLock lock(shared.mutex);
  auto found = shared.entries.find(id);
  // Unless it was forgotten meanwhile. After a failure the old value stands, and the next try
  // waits as after a success.
  if (found != shared.entries.end()) {
    Entry& entry = found->second;
    const double root = std::sqrt(static_cast<double>(end_ns - begin_ns));
    shared.walk_roots += root - std::exchange(entry.walk_root, root);
    entry.walked_at_ns = end_ns;
  }
  if (!usage.ok()) {
    if (usage.code() == Code::kNotFound) shared.Drop(id);
    return std::move(usage).error();
  }
  const MeasuredUsage measured{*usage, WallNs()};
  if (found != shared.entries.end()) {
    Entry& entry = found->second;
    const bool same = entry.measured && entry.measured->usage == measured.usage;
    entry.idle_ns = same ? std::min(2 * entry.idle_ns, kMaxIdleNs) : kMinAgeNs;
    entry.measured = measured;
  }
  return measured;
}

Result<Usage> UsageCache::Measure(const std::string& id) {
  {
    MutexLock lock(shared_->mutex);
    shared_->entries.try_emplace(id);
  }
  ASSIGN_OR_RETURN(auto measured, WalkNow(*shared_, id, UINT64_MAX));
  return measured.usage;
}

void UsageCache::Queue(const std::string& id) {
  walker_.Post([shared = shared_, id] {
    (void)WalkNow(*shared, id, UINT64_MAX);
    MutexLock lock(shared->mutex);
    auto found = shared->entries.find(id);
    if (found != shared->entries.end()) found->second.queued = false;
  });
}

Result<MeasuredUsage> UsageCache::Recent(const std::string& id) {
  const Error unavailable(Code::kUnavailable,
                          StrCat("snapshot ", id, " is being measured for the first time"));
  {
    MutexLock lock(shared_->mutex);
    Entry& entry = shared_->entries[id];
    if (!entry.measured && entry.queued) return unavailable;
    if (entry.measured) {
      if (!entry.queued && shared_->IsDue(entry)) {
        entry.queued = true;
        Queue(id);
      }
      return *entry.measured;
    }
  }
  auto measured = WalkNow(*shared_, id, kQuickInodes);
  if (measured.ok()) return measured;
  MutexLock lock(shared_->mutex);
  auto found = shared_->entries.find(id);
  if (measured.code() != Code::kResourceExhausted || found == shared_->entries.end()) {
    return std::move(measured).error();
  }
  if (!std::exchange(found->second.queued, true)) Queue(id);
  return unavailable;
}

void UsageCache::Forget(const std::string& id) {
  MutexLock lock(shared_->mutex);
  shared_->Drop(id);
}

}  // namespace berth::snapshotter
