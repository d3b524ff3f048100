// The contract of a snapshotter: keeps unpacked layers, and makes root filesystems out of them.
//
// A layer is identified by its diffID ("sha256:<64 hex>", OCI image-spec config.md) and needs no
// parent to be unpacked. A snapshot is the writable layer of one container, named by the
// container's id. Nothing is ever mounted in the daemon's own mount namespace: Mount() returns a
// detached mount.
//
// Thread-safe. Blocks on disk only. Every method is idempotent. snapshotter/contract_test.cc is
// what every implementation passes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "snapshotter/seal.h"

namespace berth::snapshotter {

struct Usage {
  uint64_t bytes = 0;  // on disk, as du counts
  uint64_t inodes = 0;

  bool operator==(const Usage&) const = default;
};

struct MeasuredUsage {
  Usage usage;
  int64_t measured_at_ns = 0;  // wall clock
};

// The compressed layer, kept beside what was unpacked of it.
struct KeptBlob {
  UniqueFd file;
  uint64_t size_bytes = 0;
  std::string digest;       // "sha256:<hex>"
  std::string compression;  // the keeper's word for it
};

// A layer of a read-only store that is used beside the snapshotter's own.
struct ReadOnlyLayer {
  std::string store;  // the root of that store
  std::string diff_id;
};

// A layer that is being written. Its destructor removes it unless it was committed.
class StagedLayer {
 public:
  virtual ~StagedLayer() = default;
  // The empty directory that becomes the layer's root; borrowed.
  virtual int dir() const = 0;
  // Marks a directory of the layer as opaque (image-spec layer.md, "Opaque Whiteout"). `path` is
  // relative and comes from the unpack worker: it is walked without following symlinks.
  virtual Status SetOpaque(const std::string& path) = 0;
  // The file that is kept as the layer's blob, empty; borrowed. With SetBlob() before the commit,
  // or else what is in it goes.
  virtual Result<int> BlobFile() = 0;
  virtual void SetBlob(const std::string& digest, const std::string& compression) = 0;
  // What VerifyLayer() will compare the layer with.
  virtual void SetSeal(const Seal& seal) = 0;
};

// A layer as it is on disk, to be read. Whiteouts are character devices 0:0, opaque directories
// have the attribute trusted.overlay.opaque.
struct LayerDirectory {
  UniqueFd dir;
  bool opaque_root = false;  // hides every layer below it
};

struct SnapshotOptions {
  std::vector<std::string> layers;  // diffIDs, the lowest first; at most 500
  // Whose the new root directory is. In a user namespace, its id 0: what the container writes is
  // stored with the host's ids of its user namespace.
  uint32_t uid = 0, gid = 0;
};

struct MountOptions {
  bool read_only = false;
  // Descriptor of a user namespace: its ids are those that the layers' files have on the disk, and
  // in the mount they are what the namespace maps them to. -1: as on the disk.
  int user_namespace = -1;
  std::string selinux_context = {};  // of all files in the mount; empty: their own
};

class Snapshotter {
 public:
  virtual ~Snapshotter() = default;

  virtual Result<std::unique_ptr<StagedLayer>> Stage(const std::string& diff_id) = 0;
  // The layer exists from here on. Usable at once and durable soon after: until the data has
  // reached the disk it is marked with this boot's id, and a layer with another boot's mark is
  // dropped when the store is opened. Committing a layer that exists drops the new one and is fine.
  virtual Status Commit(std::unique_ptr<StagedLayer> staged, Usage usage) = 0;
  virtual bool HasLayer(const std::string& diff_id) = 0;
  // NotFound if there is none.
  virtual Result<Usage> LayerUsage(const std::string& diff_id) = 0;
  virtual Result<std::vector<std::string>> ListLayers() = 0;
  // NotFound if there is none. The caller sees to it that it stays.
  virtual Result<LayerDirectory> OpenLayer(const std::string& diff_id) = 0;
  // NotFound if the layer's blob was not kept, DataLoss if it was and has gone.
  virtual Result<KeptBlob> OpenBlob(const std::string& diff_id) = 0;
  // Reads the whole layer, and compares it with its seal: DataLoss says what is not as it was
  // unpacked, FailedPrecondition that it has no seal.
  virtual Status VerifyLayer(const Context& context, const std::string& diff_id) = 0;
  // The layers of read-only stores, those that the own store has, too. The calls above speak of one
  // of them only where the own store has none, or (ListLayers(), VerifyLayer()) never.
  virtual std::vector<ReadOnlyLayer> ReadOnlyLayers() = 0;
  virtual Status VerifyReadOnlyLayer(const Context& context, const ReadOnlyLayer& layer) = 0;
  virtual Result<KeptBlob> OpenReadOnlyBlob(const ReadOnlyLayer& layer) = 0;
  // Puts another in the place of a layer: takes it out of the way, calls `bring`, which should
  // commit the layer anew, and puts it back if that has not happened. FailedPrecondition if a
  // snapshot uses the layer.
  virtual Status ReplaceLayer(const std::string& diff_id, const std::function<Status()>& bring) = 0;
  // The caller knows that no image and no snapshot uses it.
  virtual Status RemoveLayer(const std::string& diff_id) = 0;

  // NotFound names the missing layer.
  virtual Status CreateSnapshot(const std::string& id, const SnapshotOptions& options) = 0;
  // A detached mount (fsmount(2)) of the root filesystem; the caller attaches it with move_mount(2)
  // in the container's mount namespace, and it is gone with the last reference.
  virtual Result<UniqueFd> Mount(const std::string& id, const MountOptions& options) = 0;
  // The layers (lowest first) as a read-only file system, whatever the options say of that, for
  // which no snapshot is needed. The caller sees to it that they stay.
  virtual Result<UniqueFd> MountLayers(const std::vector<std::string>& layers,
                                       const MountOptions& options) = 0;
  // The writable layer alone, measured now: a walk through all of it.
  virtual Result<Usage> SnapshotUsage(const std::string& id) = 0;
  // The same as it was a short while ago, without waiting: what is asked for is measured anew in
  // the background, at a bounded rate. Unavailable while a large one is measured for the first
  // time.
  virtual Result<MeasuredUsage> RecentUsage(const std::string& id) = 0;
  virtual Result<std::vector<std::string>> ListSnapshots() = 0;
  virtual Status RemoveSnapshot(const std::string& id) = 0;

  // Returns once all layers that are there are on the disk and marked so.
  virtual Status MakeDurable() = 0;

  // What all layers take on disk, as recorded, and all snapshots, by RecentUsage; and the
  // directories they are in, which may be the same.
  virtual Result<Usage> LayersUsage() = 0;
  virtual Result<Usage> SnapshotsUsage() = 0;
  virtual const std::string& root() const = 0;
  virtual const std::string& containers_root() const = 0;
};

}  // namespace berth::snapshotter
