// The overlayfs snapshotter: each layer is a directory, a snapshot is an upper directory over them.
//
//   layers/<hex of diffID>/{fs,meta}   fs is the lowerdir; meta says how big, how durable
//   snapshots/<id>/{upper,work,layers} layers: the diffIDs, the lowest first
//   staging/<name>                     what is being made; becomes one of the above by rename
//   trash/<name>                       what is being deleted
//   empty/{0,1}                        lowerdirs of a snapshot without layers
//
// The root directory is 0700: set-id files and secrets in layers are nobody else's to reach.
#pragma once

#include <memory>
#include <string>

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

}  // namespace berth::snapshotter
