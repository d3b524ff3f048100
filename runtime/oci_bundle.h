// What an OCI runtime, or a container's hooks, are given: the container's directory as a bundle
// (runtime-spec bundle.md).
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/oci_spec.h"
#include "runtime/runtime_handlers.h"

namespace berth::runtime {

// What only the built-in handler can do is refused, by the field's name: variables that are not
// UTF-8 (config.json is text), user namespaces, recursive read-only mounts
// that the program does not know.
Status CheckOciContainer(const PodConfig& pod, const ContainerConfig& config,
                         const HandlerFeatures& features);

// Writes config.json and, for execs, its "process" without arguments, environment and terminal,
// which the shim fills in. `seccomp_json`: runtime-spec's "linux.seccomp", empty for none. `path`:
// that of the directory, in which the shim mounts the images that are volumes.
Status WriteOciBundle(int container_dir, const std::string& path, OciSpec spec,
                      const std::string& seccomp_json);

// The same for the hooks of a container that the shim itself keeps: config.json, as it was when the
// container was made, and the directory that they find the root file system at.
Status WriteHookBundle(int container_dir, const OciSpec& spec);

// Puts new limits into both files, for a container that has not started yet and for later execs.
Status UpdateOciBundle(int container_dir, const LinuxResources& resources);

}  // namespace berth::runtime
