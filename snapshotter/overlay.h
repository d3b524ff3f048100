// The overlayfs snapshotter: each layer is a directory, a snapshot is an upper directory over them.
//
//   layers/<hex of diffID>/{fs,meta}   fs is the lowerdir; meta says how big, how durable
//                          blob        the compressed layer, if it is kept
//   snapshots/<id>/{upper,work,layers} layers: the diffIDs, the lowest first
//   staging/<name>                     what is being made; becomes one of the above by rename
//   trash/<name>                       what is being deleted
//   empty/{0,1}                        lowerdirs of a snapshot without layers
//
// The root directory is 0700: set-id files and secrets in layers are nobody else's to reach.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

// Opens the store, making it where missing. One process at a time: FailedPrecondition otherwise.
// Layers that another boot left without having reached the disk are dropped, staging and trash are
// emptied, the latter in the background.
//
// Snapshots are mounted with `volatile`: a container's writable layer need not survive a power
// loss, and without it every umount would write the whole file system's dirty pages to disk.
Result<std::unique_ptr<Snapshotter>> OpenOverlay(const std::string& root);

struct OverlayOptions {
  // Where snapshots/, and staging/ and trash/ of these, are instead: on a disk of its own, say.
  // FailedPrecondition if the root still has snapshots.
  std::string containers_root = {};
  // Other stores whose layers are used as lower directories and never written: they are not listed,
  // not counted, not verified and not removed here. Its own layer comes before another's, and those
  // in the order of the list.
  std::vector<std::string> read_only = {};
};
Result<std::unique_ptr<Snapshotter>> OpenOverlay(const std::string& root,
                                                 const OverlayOptions& options);

}  // namespace berth::snapshotter
