#include "image/progress.h"

#include "base/time.h"

namespace berth::image {

namespace {

constexpr int64_t kIntervalNs = 100'000'000;

}  // namespace

ProgressBoard::ListenerId ProgressBoard::Listen(ProgressCallback callback) {
  MutexLock lock(mutex_);
  if (callback && !layers_.empty()) callback(layers_);
  listeners_.emplace(++last_id_, std::move(callback));
  return last_id_;
}

void ProgressBoard::Leave(ListenerId id) {
  MutexLock lock(mutex_);
  listeners_.erase(id);
}

void ProgressBoard::Start(std::vector<LayerProgress> layers) {
  MutexLock lock(mutex_);
  layers_ = std::move(layers);
  TellLocked();
}

void ProgressBoard::Set(size_t layer, LayerState state, int64_t done_bytes) {
  MutexLock lock(mutex_);
  LayerProgress& progress = layers_[layer];
  const bool changed = progress.state != state;
  if (changed && state == LayerState::kUnpacking) downloaded_at_ns_ = MonotonicNs();
  progress.state = state;
  progress.done_bytes = done_bytes;
  if (changed || MonotonicNs() - told_ns_ > kIntervalNs) TellLocked();
}

std::vector<LayerProgress> ProgressBoard::Layers() {
  MutexLock lock(mutex_);
  return layers_;
}

int64_t ProgressBoard::downloaded_at_ns() {
  MutexLock lock(mutex_);
  return downloaded_at_ns_;
}

void ProgressBoard::TellLocked() {
  told_ns_ = MonotonicNs();
  for (const auto& [id, listener] : listeners_) {
    if (listener) listener(layers_);
  }
}

}  // namespace berth::image
