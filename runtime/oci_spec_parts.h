// The parts of BuildOciSpec, by theme. Each fills its members of the spec and checks what it reads:
// InvalidArgument names the CRI field. Internal to the oci_spec*.cc files.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/capabilities.h"
#include "runtime/invalid_field.h"
#include "runtime/oci_spec.h"

namespace berth::runtime {

// oci_spec_process.cc: arguments, environment, working directory, capabilities, limits.
Status BuildProcess(const SpecInputs& inputs, OciSpec& spec);
// oci_spec_mounts.cc: mounts, read-only root, propagation of the root.
Status BuildMounts(const SpecInputs& inputs, OciSpec& spec);
// oci_spec_devices.cc: device nodes and the rules of the device cgroup.
Status BuildDevices(const SpecInputs& inputs, OciSpec& spec);
// The same file: devices that are asked for by their CDI names, with all that comes with them.
Status BuildCdiDevices(const SpecInputs& inputs, OciSpec& spec);
// oci_spec_security.cc: namespaces, masked paths, seccomp, AppArmor, SELinux.
Status BuildSecurity(const SpecInputs& inputs, OciSpec& spec);

// An absolute path in the container in its plain form: no empty and no "." parts, no '/' at the
// end. Refused: relative ones, "..", NUL bytes, over PATH_MAX.
Result<std::string> CleanContainerPath(std::string_view field, const std::string& path);
// True for `directory` itself and all below; both are clean.
bool IsAtOrBelow(std::string_view path, std::string_view directory);

}  // namespace berth::runtime
