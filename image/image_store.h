// The images of this node, in meta.db and, for reading, in memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sqlite.h"
#include "base/sync.h"
#include "image/image.h"
#include "snapshotter/snapshotter.h"

namespace berth::image {

// Thread-safe. Images are handed out as shared immutable values.
class ImageStore {
 public:
  // Opens (and creates the tables of) `database_path`; forgets images with a layer that the
  // snapshotter does not have, and then removes layers that no image has.
  static Result<std::unique_ptr<ImageStore>> Open(const std::string& database_path,
                                                  snapshotter::Snapshotter& snapshotter);

  // By id (whole, or a prefix of at least 3 hex digits that fits one image), tag, digest or short name
  // ("busybox" is docker.io/library/busybox:latest). Null where there is none.
  std::shared_ptr<const Image> Find(const std::string& reference);
  std::vector<std::shared_ptr<const Image>> List();

  // Adds the image, or adds its names to the one with the same id; a tag that pointed elsewhere moves.
  Status Put(const Image& image);
  // Removes the image that the reference names, with all its names, and the layers that nothing else
  // uses. No image of that name: ok. Layers of snapshots that still exist are kept until CollectLayers.
  Status Remove(const std::string& reference);
  // Drops layers that neither an image nor, by the callback, a container uses.
  Status CollectLayers();

  // Who else uses layers: given by the runtime, called without locks held.
  void SetLayerUser(std::function<std::vector<std::string>()> layers_in_use);
  // Between Begin and End of a pull no layer is collected.
  void HoldLayers();
  void ReleaseLayers();

 private:
  ImageStore(Database database, snapshotter::Snapshotter& snapshotter);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace berth::image
