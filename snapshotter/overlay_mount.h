// One overlayfs mount by the new mount API.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::snapshotter {

// Paths are relative to the store and hold no ':', ',' or '\'.
struct OverlayPlan {
  int store = -1;          // the store's directory
  std::string store_path;  // the same, for what has to be found again in another mount namespace
  std::vector<std::string>
      lower;          // the topmost first; at least one, two without an upper directory
  std::string upper;  // empty: read-only
  std::string work;
  int user_namespace = -1;      // maps the ids of the layers
  std::string selinux_context;  // empty: none
  // An empty directory two levels below the store, in which MountOverlayByData makes short names.
  std::string scratch;
};

// A detached mount. With a user namespace the layers are read through an idmapped mount of the
// store; overlayfs takes one that is attached nowhere since kernel 6.15 (Unimplemented before).
// Layers are added one by one (`lowerdir+`, kernel 6.5), so that neither their
// number nor the length of their names meets a limit; Unimplemented if the kernel is older.
Result<UniqueFd> MountOverlay(const OverlayPlan& plan);

// The way for kernels before 6.5: all layers in one option string. fsconfig(2) ends that at 255
// bytes, so it is mount(2), whose data is a page, with names of a few bytes, in a thread that has a
// mount namespace and a working directory of its own; what leaves it is a detached copy of the
// mount.
Result<UniqueFd> MountOverlayByData(const OverlayPlan& plan);

}  // namespace berth::snapshotter
