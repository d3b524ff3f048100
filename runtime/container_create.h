// The steps of CreateContainer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/image.h"
#include "runtime/core.h"
#include "runtime/oci_spec.h"

namespace berth::runtime {

// The images that a container is made of. Held by the caller, with their layers, until its record
// says that they are in use.
struct ContainerImages {
  std::shared_ptr<const image::Image> own;
  std::vector<std::shared_ptr<const image::Image>> mounts;  // one per mount, null for other mounts
};
// NotFound names the image that is to be pulled first, InvalidArgument the field.
Result<ContainerImages> FindImages(Core& core, const ContainerConfig& config);

// What is known before the first effect.
ContainerRecord NewContainerRecord(const Core& core, const Pod& pod, const ContainerConfig& config,
                                   const ContainerImages& images, const std::string& id);

// Snapshot, user, OCI spec, launch plan; at the end the record says kCreated. What it leaves on
// failure RemoveContainerFiles removes.
Status BuildContainer(Core& core, const Context& context, const Pod& pod,
                      const ContainerImages& images, ContainerEntry& entry);

// The process whose PID namespace the launch plan names is still the target container's: its number
// may have become another's. Ok without pid mode TARGET.
Status CheckTarget(Core& core, const ContainerRecord& record);

// The OCI spec that the container was or will be started with, made again from its record.
Result<OciSpec> SpecOfContainer(Core& core, const ContainerRecord& record);

}  // namespace berth::runtime
