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
  // Opens (and creates the tables of) `database_path`. Images with a layer that the snapshotter
  // does not have, as after a power loss, are not there; but their other layers stay, so that a
  // pull brings what is missing only, until ForgetIncomplete(). Layers that nothing uses stay until
  // CollectLayers(), which is right only once SetLayerUser() has told who else uses layers. The
  // snapshotter must outlive this.
  static Result<std::unique_ptr<ImageStore>> Open(const std::string& database_path,
                                                  snapshotter::Snapshotter& snapshotter);
  // With the images of other stores besides, whose layers the snapshotter knows. They are pinned,
  // and cannot be removed; nothing is written there. A name or an id that is in this store, too, is
  // this one's.
  static Result<std::unique_ptr<ImageStore>> Open(const std::string& database_path,
                                                  snapshotter::Snapshotter& snapshotter,
                                                  const std::vector<std::string>& read_only);

  // By id (whole, or a prefix of at least 3 hex digits that fits one image), tag, digest or short
  // name
  // ("busybox" is docker.io/library/busybox:latest). Null where there is none. A name wins over an
  // id that begins with the same letters.
  std::shared_ptr<const Image> Find(const std::string& reference);
  std::vector<std::shared_ptr<const Image>> List();

  // Before the layers of the image are brought: those that are, should it end there, stay for its
  // next pull, up to a day (unfinished_pulls.h) and while 15 percent of the disk are free. Ends
  // with Put(). Nothing if all layers are there.
  Status NoteUnfinished(const Image& image);
  // All such images but the one (an id, or empty), when room is needed: the next collection takes
  // their layers. Returns how many there were.
  Result<size_t> ForgetUnfinished(const std::string& except);
  // Adds the image, or adds its names to the one with the same id; a tag that pointed elsewhere
  // moves.
  Status Put(const Image& image);
  // Removes the image that the reference names, with all its names, and the layers that nothing
  // else uses. No image of that name: ok; one of a read-only store: FailedPrecondition. Layers of
  // snapshots that still exist are kept until CollectLayers.
  Status Remove(const std::string& reference);
  struct Collected {
    uint64_t layers = 0, bytes = 0;
    bool postponed = false;  // something holds layers; it happens when that ends
  };
  // Drops layers that neither an image nor, by the callback, a container uses, nor an unfinished
  // pull has brought.
  Result<Collected> CollectLayers();
  // Images of which a layer is missing; returns how many there were.
  Result<size_t> ForgetIncomplete();

  // Brings the database into one file without journals, in the one form that its content has, for a
  // store that will be copied. Nothing else may use the database meanwhile.
  Status Settle();

  // Who else uses layers: given by the runtime, called without locks held.
  void SetLayerUser(std::function<std::vector<std::string>()> layers_in_use);
  // What it tells; nothing before it was given.
  std::vector<std::string> LayersInUse();
  // Between the two no layer is collected: around a pull, and around the time between Find() and
  // the moment from which `layers_in_use` tells of the container. A collection that was asked for
  // meanwhile happens in the last ReleaseLayers(). HoldLayers() waits for one that is running.
  void HoldLayers();
  void ReleaseLayers();

  ~ImageStore();

 private:
  struct State;
  explicit ImageStore(std::unique_ptr<State> state);
  // Removes unused layers if nothing has been held since `generation`.
  Result<std::optional<Collected>> TryCollect(uint64_t generation,
                                              const std::vector<std::string>& in_use);

  std::unique_ptr<State> state_;
};

// Holds layers for its lifetime.
class LayerHold {
 public:
  explicit LayerHold(ImageStore& store) : store_(store) { store_.HoldLayers(); }
  // NOLINTNEXTLINE(bugprone-exception-escape): the runtime's callback does not throw.
  ~LayerHold() { store_.ReleaseLayers(); }
  LayerHold(const LayerHold&) = delete;
  LayerHold& operator=(const LayerHold&) = delete;

 private:
  ImageStore& store_;
};

}  // namespace berth::image
