// The container's file system tree, built in the child's new mount namespace. Every path is
// resolved inside the root by openat2 and used as a descriptor from then on; mounts are made
// detached and moved onto the descriptor, so no path is walked twice.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// Opens the source of every bind mount as a detached copy, with its attributes, and takes those of
// `images`, one for each kImage. Runs in the shim, in the host's mount namespace, where the
// sources' propagation peers are. The result has one entry per mount of the plan, empty for a new
// file system. An error names the host path.
Result<std::vector<UniqueFd>> OpenSources(const std::vector<wire::MountPlan>& mounts,
                                          std::vector<UniqueFd>& images);

// Puts the path in it in the place of each image that has one. For a moment the image is attached
// on the working directory, which must be in a mount namespace whose mounts are not the host's.
Status SelectImageParts(const std::vector<wire::MountPlan>& mounts, std::vector<UniqueFd>& sources);

// The path's last part is made by whoever mounts on it.
enum class TargetKind { kDirectory, kFile };
Result<TargetKind> KindOf(int fd);

struct RootInputs {
  const wire::LaunchPlan& plan;
  std::vector<UniqueFd>& sources;
  int rootfs;            // detached mount; it is attached on the working directory
  int sync_socket;       // for the terminal
  const Context& hooks;  // how long they may take
  int hooks_socket;      // to the shim, for its hooks
  pid_t init;            // the container's process, as the caller knows it
};
// Mounts everything, makes devices, runs the plan's hooks of that moment, masks paths, creates the
// working directory where it is missing, and makes it all the root. Opens the terminal (returned),
// if the plan has one; in a user namespace the container's process does that itself, and its place
// is made only.
Result<UniqueFd> SetUpRootInChild(const RootInputs& inputs);

// Makes the terminal the root's /dev/console.
Status BindConsoleInChild(int root, int terminal);

// The directory or file `path` inside `root`, created with its parents (directories 0755, a file
// 0644) where missing; symlinks, dangling ones too, are followed inside the root. Exposed for its
// test.
Result<UniqueFd> EnsureTarget(int root, const std::string& path, TargetKind kind);

}  // namespace berth::shim
