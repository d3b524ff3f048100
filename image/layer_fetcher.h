// From a registry into the snapshotter: one layer at a time per diffID, a bounded number at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"
#include "image/layer_unpacker.h"
#include "image/registry.h"

namespace berth::image {

// An event that happens once and that a context can wait for.
class OneShotEvent {
 public:
  static Result<OneShotEvent> Create();
  void Signal() const;
  Status Wait(const Context& context, std::string_view step) const;

 private:
  UniqueFd event_;
};

// Thread-safe. What it was given must outlive it.
class LayerFetcher {
 public:
  static Result<std::unique_ptr<LayerFetcher>> Create(LayerUnpacker& unpacker,
                                                      snapshotter::Snapshotter& snapshotter,
                                                      int max_parallel);

  struct Layer {
    Descriptor blob;
    std::string diff_id;
  };
  using BytesCallback = std::function<void(int64_t done_bytes)>;
  // Returns once the snapshotter has the layer: because it had it, because another call brought it,
  // or because this one did. After a failure nothing of the layer is left.
  Status Ensure(const Context& context, Repository& repository, const Layer& layer,
                const BytesCallback& on_bytes);

 private:
  LayerFetcher(UniqueFd slots, LayerUnpacker& unpacker, snapshotter::Snapshotter& snapshotter)
      : slots_(std::move(slots)), unpacker_(unpacker), snapshotter_(snapshotter) {}

  Status Fetch(const Context& context, Repository& repository, const Layer& layer,
               const BytesCallback& on_bytes);
  Status TakeSlot(const Context& context);
  void ReturnSlot();

  UniqueFd slots_;  // eventfd in semaphore mode, so that waiting for a slot can be cancelled
  LayerUnpacker& unpacker_;
  snapshotter::Snapshotter& snapshotter_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<OneShotEvent>> under_way_ GUARDED_BY(mutex_);  // by diffID
};

}  // namespace berth::image
