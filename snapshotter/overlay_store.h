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
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

// What `meta` of a layer says.
struct LayerRecord {
  Usage usage;
  bool opaque_root = false;  // hides every layer below it
  std::string boot;          // the boot that wrote it; kDurable once it is on the disk
  std::optional<Seal> seal;  // layers of the first versions have none
  uint64_t generation = 0;   // in memory: tells a layer from a later one of the same name
};
inline constexpr std::string_view kDurable = "-";
std::string FormatLayerRecord(const LayerRecord& record);
Result<LayerRecord> ParseLayerRecord(std::string_view text);

// Thread-safe. Paths are relative to root_fd().
class OverlayStore {
 public:
  // Makes what is missing, moves the staging directory's content and the layers of another boot
  // that may be incomplete to the trash, and loads the rest.
  static Result<std::shared_ptr<OverlayStore>> Open(const std::string& root);

  int root_fd() const { return root_fd_.get(); }
  const std::string& root() const { return root_; }

  // An empty directory "staging/<name>", 0700.
  Result<std::string> NewStaging();
  // Moves it out of the way in one step; a missing one is fine. EmptyTrash() deletes it.
  Status Trash(const std::string& path);
  // Deletes all that is in the trash; one failure does not keep the rest.
  Status EmptyTrash();

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
  OverlayStore(std::string root, UniqueFd root_fd, std::string boot);
  Status MakeDirectories();
  Status DropLeftovers();
  Status LoadLayers();
  Status LoadLayer(const std::string& hex);

  const std::string root_;
  const UniqueFd root_fd_;
  const std::string boot_;
  Mutex mutex_;
  std::map<std::string, LayerRecord> layers_ GUARDED_BY(mutex_);
  uint64_t next_generation_ GUARDED_BY(mutex_) = 1;
};

}  // namespace berth::snapshotter
