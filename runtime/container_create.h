// The steps of CreateContainer.
#pragma once

#include <string>

#include "base/result.h"
#include "image/image.h"
#include "runtime/core.h"
#include "runtime/oci_spec.h"

namespace berth::runtime {

// What is known before the first effect.
ContainerRecord NewContainerRecord(const Core& core, const Pod& pod, const ContainerConfig& config,
                                   const image::Image& image, const std::string& id);

// Snapshot, user, OCI spec, launch plan; at the end the record says kCreated. What it leaves on
// failure RemoveContainerFiles removes.
Status BuildContainer(Core& core, const Pod& pod, const image::Image& image, ContainerEntry& entry);

// The OCI spec that the container was or will be started with, made again from its record.
Result<OciSpec> SpecOfContainer(Core& core, const ContainerRecord& record);

}  // namespace berth::runtime
