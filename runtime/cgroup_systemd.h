// The cgroup driver of machines whose process 1 is systemd (cgroup v2 only).
//
//   /kubepods.slice/kubepods-podX.slice          the pod's slice: kubelet's, or Berth's own
//     berth-<id>.scope                           a transient unit, Delegate=yes
//       shim                                     the container's berth-shim
//       container                                the container; what is below is its own
//
// Systemd owns the cgroups of its units and writes their files anew whenever it likes
// (daemon-reload does), device access included. Below a delegated scope it changes nothing, so that
// is where the container is and has its limits and its device program. The scope has the same
// limits as unit properties: systemctl shows them, and systemd never loosens what is around the
// container. That the shim is in the scope, with an oom score that makes it the last to go, keeps
// it out of the daemon's limits; what it does for the container, writing its log above all, counts
// as the container's.
#pragma once

#include <memory>

#include "base/result.h"
#include "runtime/cgroup.h"
#include "runtime/systemd_bus.h"

namespace berth::runtime {

// `mount_root` is where cgroup v2 is mounted.
Result<std::unique_ptr<CgroupDriver>> NewSystemdCgroupDriver(std::unique_ptr<SystemdBus> bus,
                                                             const std::string& mount_root);

}  // namespace berth::runtime
