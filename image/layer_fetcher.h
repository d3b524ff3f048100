// From a registry into the snapshotter: one layer at a time per diffID, a bounded number at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"
#include "image/blob_transfer.h"
#include "image/layer_unpacker.h"
#include "image/manifest.h"
#include "image/progress.h"

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
    Descriptor blob;  // the digest is empty where it is not known
    std::string diff_id;

    const std::string& Name() const { return blob.digest.empty() ? diff_id : blob.digest; }
  };
  // Where blobs come from. Called from several threads at a time.
  struct BlobSource {
    // Gives the blob's bytes in order to the sink, exactly blob.size of them; a failure of the sink
    // is returned as it is.
    std::function<Status(const Context& context, const Layer& layer, const BlobSink& sink)> stream;
    // Told that the bytes were not the layer's; true if another try may bring others. May be none.
    std::function<bool(const Layer& layer)> distrust;
  };
  using StateCallback = std::function<void(LayerState state, int64_t done_bytes)>;
  // Returns once the snapshotter has the layer: because it had it, because another call brought it,
  // or because this one did. After a failure nothing of the layer is left.
  Status Ensure(const Context& context, const BlobSource& source, const Layer& layer,
                const StateCallback& on_state);
  // All layers of an image, several at a time, telling the board. The first failure cancels the
  // context, which has to be cancellable, and is what is returned. ResourceExhausted, before a byte
  // is asked for, if the disk has not even room for what is missing as it is compressed, besides
  // what other transfers are still going to write.
  Status EnsureAll(const Context& context, const BlobSource& source,
                   const std::vector<Layer>& layers, ProgressBoard& board);
  // What the layers, each counted once, take on disk.
  Result<uint64_t> UnpackedBytes(const std::vector<std::string>& diff_ids);

 private:
  LayerFetcher(UniqueFd slots, int max_parallel, LayerUnpacker& unpacker,
               snapshotter::Snapshotter& snapshotter)
      : slots_(std::move(slots)),
        max_parallel_(max_parallel),
        unpacker_(unpacker),
        snapshotter_(snapshotter) {}

  Result<std::unique_ptr<Room::Reservation>> ReserveRoom(const std::vector<Layer>& layers);
  Status Fetch(const Context& context, const BlobSource& source, const Layer& layer,
               const StateCallback& on_state);
  Status FetchOnce(const Context& context, const BlobSource& source, const Layer& layer,
                   const StateCallback& on_state);
  Status TakeSlot(const Context& context);
  void ReturnSlot();

  UniqueFd slots_;  // eventfd in semaphore mode, so that waiting for a slot can be cancelled
  const int max_parallel_;
  LayerUnpacker& unpacker_;
  snapshotter::Snapshotter& snapshotter_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<OneShotEvent>> under_way_ GUARDED_BY(mutex_);  // by diffID
};

}  // namespace berth::image
