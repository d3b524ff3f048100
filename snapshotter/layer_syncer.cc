#include "snapshotter/layer_syncer.h"

#include <glog/logging.h>

#include <utility>

#include "base/time.h"

namespace berth::snapshotter {

LayerSyncer::LayerSyncer(std::function<Status()> sync) : shared_(std::make_shared<Shared>()) {
  shared_->sync = std::move(sync);
}

LayerSyncer::~LayerSyncer() {
  MutexLock lock(shared_->mutex);
  shared_->stopping = true;
  shared_->changed.NotifyAll();
}

std::shared_ptr<void> LayerSyncer::Writing() {
  MutexLock lock(shared_->mutex);
  ++shared_->writing;
  return {shared_.get(), [shared = shared_](void*) {
            MutexLock unlock(shared->mutex);
            if (--shared->writing == 0) shared->changed.NotifyAll();
          }};
}

void LayerSyncer::Schedule() {
  {
    MutexLock lock(shared_->mutex);
    // One call covers all that was committed before it began.
    if (std::exchange(shared_->posted, true)) return;
  }
  thread_.Post([shared = shared_] { Run(*shared); });
}

void LayerSyncer::Run(Shared& shared) {
  const int64_t deadline_ns = MonotonicNs() + kMaxDelayMs * 1'000'000;
  {
    MutexLock lock(shared.mutex);
    while (shared.writing > 0 && !shared.stopping) {
      const int64_t left_ms = (deadline_ns - MonotonicNs()) / 1'000'000;
      if (left_ms <= 0) break;
      (void)shared.changed.WaitMs(shared.mutex, left_ms);
    }
    if (shared.stopping) return;  // whoever opens the store next does it
    shared.posted = false;
  }
  Status status = shared.sync();
  if (!status.ok()) LOG(ERROR) << "layer store: " << status.error().message();
}

}  // namespace berth::snapshotter
