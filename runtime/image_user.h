// Which ids a container runs with: CRI's run_as_* fields, else the image's USER, names looked up in
// the image's /etc/passwd and /etc/group. Both files are hostile: opened inside the root filesystem
// by descriptor (openat2, no device, no FIFO, at most 10 MiB), parsed line by line.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/types.h"

namespace berth::runtime {

struct ImageUser {
  ContainerUser user;
  std::string home;  // from passwd; "/" where there is none
};

// `rootfs` is a descriptor of the root directory (a detached mount will do). InvalidArgument for
// ids out of 0..2^31-1 (never looked up as names: CVE-2016-3697, CVE-2026-46680); NotFound for
// names that are not in the files. The primary group is always among the supplemental groups'
// effect (CVE-2022-2995): see ContainerUser.
Result<ImageUser> ResolveImageUser(int rootfs, const ContainerSecurityContext& security,
                                   const std::string& image_user);

}  // namespace berth::runtime
