// What an OCI runtime finds mounted: a mount namespace of the shim and the runtime alone, which
// goes with them, so that nothing is left on the host.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// Enters the namespace, and attaches the root file system and the plan's images in the bundle
// (`directory` is its path, `bundle` the same opened): "rootfs" and wire::kOciImagePrefix. The
// working directory becomes the bundle. `rootfs`, `images`: detached mounts.
//
// Nothing that is mounted there reaches the host, but below a bind mount that the plan shares with
// it. FailedPrecondition for one whose source is on the mount that the bundle is on.
Status MountForOciRuntime(const wire::LaunchPlan& plan, const std::string& directory, int bundle,
                          int rootfs, std::vector<UniqueFd>& images);

}  // namespace berth::shim
