// The layers of a store that another filled (`berth preload`), used as they lie there.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "snapshotter/overlay_store.h"

namespace berth::snapshotter {

// Immutable, so thread-safe. Nothing in it is written, nor does anything of it have to be writable.
class ReadOnlyStore {
 public:
  // Takes the layers that are on the disk for sure; others, as of a daemon that runs, are left out.
  // NotFound names the directory.
  static Result<std::unique_ptr<const ReadOnlyStore>> Open(const std::string& root);

  int root_fd() const { return root_fd_.get(); }
  const std::string& root() const { return root_; }
  // Null if it is not here.
  const LayerRecord* FindLayer(const std::string& hex) const;
  const std::map<std::string, LayerRecord>& layers() const { return layers_; }  // by hex

 private:
  ReadOnlyStore(std::string root, UniqueFd root_fd)
      : root_(std::move(root)), root_fd_(std::move(root_fd)) {}

  const std::string root_;
  const UniqueFd root_fd_;
  std::map<std::string, LayerRecord> layers_;
};

}  // namespace berth::snapshotter
