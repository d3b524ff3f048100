// Unpacks one compressed layer in a sandboxed berth-unpack process: sha256 of what comes in,
// inflate, sha256 of what comes out, untar. The daemon only moves bytes into the worker's pipe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/context.h"
#include "base/process.h"
#include "base/result.h"
#include "image/pull_cgroup.h"
#include "image/room.h"
#include "snapshotter/snapshotter.h"

namespace berth::image {

enum class Compression { kNone, kGzip, kZstd };

// "none", "gzip", "zstd": for the worker, and for blobs that are kept.
const char* NameOf(Compression compression);

struct UnpackRequest {
  std::string digest;       // of the compressed blob, "sha256:<hex>"; empty: not known
  std::string diff_id;      // of the uncompressed tar
  int64_t size_bytes = -1;  // of the blob; -1: not known
  Compression compression = Compression::kGzip;
};

// One unpacking under way. Write() the blob, then Finish(). Destroying it earlier kills the worker
// and removes what it had written. Not thread-safe.
class LayerUnpack {
 public:
  ~LayerUnpack();
  LayerUnpack(LayerUnpack&&) noexcept;
  LayerUnpack& operator=(LayerUnpack&&) noexcept;

  // Blocks while the worker is busy. A worker that has died or refused the data makes this fail;
  // the cause is then in Finish().
  Status Write(const Context& context, std::string_view bytes);
  // Ends the input, waits for the worker, checks both digests and commits the layer.
  // DataLoss: a wrong digest, a truncated or a corrupt blob. ResourceExhausted: disk full or a
  // limit.
  Status Finish(const Context& context);

 private:
  friend class LayerUnpacker;
  struct State;
  explicit LayerUnpack(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class LayerUnpacker {
 public:
  // `worker_path` is the berth-unpack binary. The snapshotter must outlive this. Workers run in the
  // cgroup, if it is one. `keep_blobs`: what comes is kept beside the layer, as it comes.
  LayerUnpacker(std::string worker_path, snapshotter::Snapshotter& snapshotter,
                PullCgroup cgroup = {}, bool keep_blobs = false);
  Result<LayerUnpack> Begin(const UnpackRequest& request);

  // In the store, for all who bring layers into it.
  Room& room() { return room_; }
  bool keeps_blobs() const { return keep_blobs_; }

 private:
  std::string worker_path_;
  snapshotter::Snapshotter& snapshotter_;
  PullCgroup cgroup_;
  const bool keep_blobs_;
  Room room_;
};

}  // namespace berth::image
