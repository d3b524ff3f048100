// The cgroup of a pod as a whole.
//
// A pod with a cgroup_parent is put below it and the parent stays its owner's: kubelet makes it and
// writes the pod's limits, overhead included, itself. A pod without one gets a cgroup of its own
// below cgroup.default_parent, and there its resources and overhead hold.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/core.h"

namespace berth::runtime {

// Empty if the pod is in somebody else's.
std::string PodCgroup(const Core& core, const Pod& pod);
// Where the pod's containers have their cgroups.
std::string CgroupParentOf(const Core& core, const Pod& pod);

// What the pod may use: each limit of its containers together, and the overhead's on top. Overhead
// alone limits nothing.
LinuxResources WithOverhead(const LinuxResources& resources, const LinuxResources& overhead);

// Makes the pod's own cgroup with its limits, if it has any. On failure nothing is left of it.
Status CreatePodCgroup(Core& core, const Pod& pod);
// CgroupDriver's LimitsBefore, Update and Restore for the limits of the pod's own cgroup, of which
// the first makes it if it is not there. No effect on a pod in somebody else's cgroup.
Result<FormerLimits> PodLimitsBefore(Core& core, const Pod& pod);
Status UpdatePodCgroup(Core& core, const Pod& pod);
Status RestorePodCgroup(Core& core, const Pod& pod, const FormerLimits& former);
// Idempotent.
Status RemovePodCgroup(Core& core, const Pod& pod);

// The cgroup of the process that is the first of the PID namespace of the pod's containers, beside
// theirs: the pod's limits hold for it, the daemon's do not.
std::string PodInitCgroup(const Core& core, const Pod& pod);
Status PlacePodInit(Core& core, const Pod& pod, int32_t pid);

}  // namespace berth::runtime
