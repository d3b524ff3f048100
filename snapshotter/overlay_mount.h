// One overlayfs mount by the new mount API.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::snapshotter {

struct StoreDirectory {
  int fd = -1;
  std::string path;  // the same, for what has to be found again in another mount namespace
};

struct LowerDirectory {
  size_t store = 0;  // index into `stores`
  std::string path;
};

// Paths are relative to a store and hold no ':', ',' or '\'.
struct OverlayPlan {
  std::vector<StoreDirectory> stores;  // the first has `scratch`
  StoreDirectory writable;
  // The topmost first; at least one, two without an upper directory.
  std::vector<LowerDirectory> lower;
  std::string upper;  // in `writable`; empty: read-only
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
