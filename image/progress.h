// How far a transfer of layers is: told by the threads that move them to everyone who watches.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/sync.h"

namespace berth::image {

//   kWaiting ──▶ kDownloading ──▶ kUnpacking ──▶ kDone
//      │  └──────────┴───────────────┴─────────▶ kFailed
//      └──▶ kExists      it was there, or another transfer has brought it
enum class LayerState { kWaiting, kDownloading, kUnpacking, kDone, kExists, kFailed };

struct LayerProgress {
  std::string digest;  // of the blob
  int64_t done_bytes = 0;
  int64_t total_bytes = -1;  // -1: not known
  LayerState state = LayerState::kWaiting;

  bool Ended() const { return state >= LayerState::kDone; }
};

// Called with locks held, from the transferring threads, at most some ten times a second and at
// each change of a state: it must not block.
using ProgressCallback = std::function<void(const std::vector<LayerProgress>&)>;

// The progress of one transfer. Thread-safe.
class ProgressBoard {
 public:
  using ListenerId = uint64_t;

  // A callback that comes late is told at once where things are. It may be empty.
  ListenerId Listen(ProgressCallback callback) EXCLUDES(mutex_);
  // Once it has returned, the callback is not called again.
  void Leave(ListenerId id) EXCLUDES(mutex_);

  // The layers that there are, the lowest first, as they are now.
  void Start(std::vector<LayerProgress> layers) EXCLUDES(mutex_);
  void Set(size_t layer, LayerState state, int64_t done_bytes) EXCLUDES(mutex_);
  std::vector<LayerProgress> Layers() EXCLUDES(mutex_);
  // When the last byte of the last layer had come (monotonic clock); 0 if none has.
  int64_t downloaded_at_ns() EXCLUDES(mutex_);

 private:
  void TellLocked() REQUIRES(mutex_);

  Mutex mutex_;
  ListenerId last_id_ GUARDED_BY(mutex_) = 0;
  std::map<ListenerId, ProgressCallback> listeners_ GUARDED_BY(mutex_);
  std::vector<LayerProgress> layers_ GUARDED_BY(mutex_);
  int64_t told_ns_ GUARDED_BY(mutex_) = 0;
  int64_t downloaded_at_ns_ GUARDED_BY(mutex_) = 0;
};

}  // namespace berth::image
