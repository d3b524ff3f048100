// Steps of a pod's life that PodManager and recovery share.
#pragma once

#include <string>

#include "base/context.h"
#include "base/result.h"
#include "runtime/cni.h"
#include "runtime/core.h"

namespace berth::runtime {

// How CNI knows the pod.
CniPod CniPodOf(const Core& core, const Pod& pod);

// Kills the pod's init, takes down its network, namespaces and mounts. Idempotent, and good for a
// pod that was made half-way. Containers must have stopped.
Status TearDownPod(Core& core, const Context& context, PodEntry& entry);

// What the record of a pod says that was torn down.
void MarkStopped(PodRecord& record);

// Removes the directory, the record and the index entry of a pod that was torn down.
Status ForgetPod(Core& core, const std::string& id);

}  // namespace berth::runtime
