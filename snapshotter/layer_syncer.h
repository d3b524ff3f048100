// Has layers brought to the disk soon after they were committed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "base/sync.h"
#include "snapshotter/background.h"

namespace berth::snapshotter {

// syncfs(2) writes whatever the file system has, so while layers are being unpacked it would take
// processor and disk from them, for data of which the next one has more. It waits until none is, or
// until kMaxDelayMs have passed. Thread-safe.
class LayerSyncer {
 public:
  static constexpr int64_t kMaxDelayMs = 5000;

  // `sync` brings everything that was committed before the call to the disk. It owns what it uses:
  // a call may outlast this object, as Background says.
  explicit LayerSyncer(std::function<Status()> sync);
  ~LayerSyncer();

  // Something is being written as long as this lives.
  std::shared_ptr<void> Writing();
  // Something has been committed.
  void Schedule();

 private:
  struct Shared {
    std::function<Status()> sync;
    Mutex mutex;
    CondVar changed;
    int writing GUARDED_BY(mutex) = 0;
    bool posted GUARDED_BY(mutex) = false;
    bool stopping GUARDED_BY(mutex) = false;
  };
  static void Run(Shared& shared);

  const std::shared_ptr<Shared> shared_;
  Background thread_;
};

}  // namespace berth::snapshotter
