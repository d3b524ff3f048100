// The directories of the overlay snapshotter, and which layers are in them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"
#include "snapshotter/area.h"
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

// What `meta` of a layer says.
struct LayerRecord {
  Usage usage;
  bool opaque_root = false;  // hides every layer below it
  std::string boot;          // the boot that wrote it; kDurable once it is on the disk
  std::string blob;          // digest of the file `blob`; empty without one
  std::string compression;   // of the blob
  uint64_t blob_bytes = 0;
  std::optional<Seal> seal;  // layers of the first versions have none
  uint64_t generation = 0;   // in memory: tells a layer from a later one of the same name
};
inline constexpr std::string_view kDurable = "-";
std::string FormatLayerRecord(const LayerRecord& record);
Result<LayerRecord> ParseLayerRecord(std::string_view text);
// Of the layer in that directory below `dir`. DataLoss or NotFound if it is incomplete, as a power
// loss may leave it; any other error says nothing about the layer.
Result<LayerRecord> ReadLayerRecord(int dir, const std::string& path);
// What Snapshotter says of them, for a layer of that record in the store whose root is `root`.
Status VerifyStoredLayer(const Context& context, int root, const std::string& hex,
                         const LayerRecord& record);
Result<KeptBlob> OpenStoredBlob(int root, const std::string& hex, const LayerRecord& record);

// Thread-safe. Paths are relative to root_fd().
class OverlayStore {
 public:
  // Makes what is missing, moves the staging directory's content and the layers of another boot
  // that may be incomplete to the trash, and loads the rest.
  static Result<std::shared_ptr<OverlayStore>> Open(const std::string& root);

  int root_fd() const { return area_->root_fd(); }
  const std::string& root() const { return area_->root(); }
  const std::shared_ptr<Area>& area() const { return area_; }

  // Makes the staged directory (with "fs" in it) the layer; AlreadyExists leaves it where it is.
  Status AddLayer(const std::string& hex, const std::string& staged, LayerRecord record);
  bool FindLayer(const std::string& hex, LayerRecord* record);
  std::map<std::string, LayerRecord> Layers();
  Status RemoveLayer(const std::string& hex);
  // Moves the layer to the staging directory, and out of memory; returns its path there.
  Result<std::string> TakeOutLayer(const std::string& hex, LayerRecord* record);
  // The reverse. AlreadyExists if there is another by now.
  Status PutBackLayer(const std::string& hex, const std::string& staged, LayerRecord record);

  // Waits until everything that was committed before the call is on the disk, then marks it so.
  Status MakeDurable();
  bool HasUnsynced();

 private:
  OverlayStore(std::shared_ptr<Area> area, std::string boot)
      : area_(std::move(area)), boot_(std::move(boot)) {}
  Status MakeDirectories();
  Status LoadLayers();
  Status LoadLayer(const std::string& hex);

  const std::shared_ptr<Area> area_;
  const std::string boot_;
  Mutex mutex_;
  std::map<std::string, LayerRecord> layers_ GUARDED_BY(mutex_);
  uint64_t next_generation_ GUARDED_BY(mutex_) = 1;
};

}  // namespace berth::snapshotter
