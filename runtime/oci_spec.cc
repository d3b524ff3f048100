#include "runtime/oci_spec.h"

#include <climits>

#include "runtime/oci_spec_parts.h"

namespace berth::runtime {

Result<std::string> CleanContainerPath(std::string_view field, const std::string& path) {
  auto refuse = [&](std::string_view why) {
    return InvalidField(field, StrCat("\"", Printable(path), "\" ", why));
  };
  if (path.empty() || path[0] != '/') return refuse("is not an absolute path");
  if (path.size() >= PATH_MAX) return refuse("is too long");
  if (path.find('\0') != std::string::npos) return refuse("has a NUL byte");
  std::string clean;
  for (std::string_view part : Split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse("has a \"..\" part");
    if (part.size() > NAME_MAX) return refuse("has a part that is too long");
    clean += StrCat("/", part);
  }
  return clean.empty() ? std::string("/") : clean;
}

bool IsAtOrBelow(std::string_view path, std::string_view directory) {
  if (directory == "/") return true;
  if (!path.starts_with(directory)) return false;
  return path.size() == directory.size() || path[directory.size()] == '/';
}

Result<OciSpec> BuildOciSpec(const SpecInputs& inputs) {
  if (inputs.container.security.privileged && !inputs.pod.security.privileged) {
    return Error(Code::kInvalidArgument,
                 "security_context.privileged: the pod of the container is not privileged");
  }
  OciSpec spec;
  spec.cgroups_path = inputs.cgroups_path;
  spec.resources = inputs.container.resources;
  if (!inputs.paths.uts_ns.empty()) spec.hostname = inputs.pod.hostname;
  RETURN_IF_ERROR(BuildProcess(inputs, spec));
  RETURN_IF_ERROR(BuildMounts(inputs, spec));
  RETURN_IF_ERROR(BuildDevices(inputs, spec));
  RETURN_IF_ERROR(BuildCdiDevices(inputs, spec));
  RETURN_IF_ERROR(BuildSecurity(inputs, spec));
  return spec;
}

}  // namespace berth::runtime
