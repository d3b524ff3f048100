// Changes of limits while a container or a pod lives.
#pragma once

#include <optional>

#include "base/context.h"
#include "base/result.h"
#include "runtime/core.h"

namespace berth::runtime {

// Fields that the change leaves unset keep what they have.
LinuxResources MergeResources(const LinuxResources& old, const LinuxResources& change);

// The cgroup, the OOM score of the processes that run, and what later processes start with: all of
// it or nothing. FailedPrecondition for one that has exited.
Status UpdateContainerResources(Core& core, const Context& context, ContainerEntry& entry,
                                const LinuxResources& change);

// The record, and the pod's own cgroup where it has one (runtime/pod_cgroup.h).
// FailedPrecondition for one that is stopped.
Status UpdatePodResources(Core& core, const Context& context, PodEntry& entry,
                          const std::optional<LinuxResources>& overhead,
                          const std::optional<LinuxResources>& resources);

// For recovery: puts back what a killed daemon had changed of an update that is not in the record.
Status TakeBackUpdate(Core& core, ContainerEntry& entry);
Status TakeBackUpdate(Core& core, PodEntry& entry);

}  // namespace berth::runtime
