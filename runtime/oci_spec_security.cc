#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "runtime/oci_spec_parts.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxPaths = 8192;  // kubelet sends one for each CPU

// A container without a field of its own has its pod's.
const NamespaceOptions& OptionsOf(const SpecInputs& inputs) {
  const std::optional<NamespaceOptions>& own = inputs.container.security.namespaces;
  return own ? *own : inputs.pod.security.namespaces;
}

Status CheckNamespaces(const NamespaceOptions& options) {
  if (options.userns && options.userns->mode != NamespaceMode::kNode) {
    return UnimplementedField("namespace_options.userns_options");
  }
  for (NamespaceMode mode : {options.network, options.ipc}) {
    if (mode != NamespaceMode::kPod && mode != NamespaceMode::kNode) {
      return InvalidField("namespace_options", "network and ipc are the pod's or the node's");
    }
  }
  return Ok();
}

// Network, IPC and UTS are the pod's, as the pod was made; the container's word on them repeats it.
Status BuildNamespaces(const SpecInputs& inputs, OciSpec& spec) {
  const NamespaceOptions& options = OptionsOf(inputs);
  RETURN_IF_ERROR(CheckNamespaces(options));
  const PodPaths& paths = inputs.paths;
  auto join = [&](const char* type, const std::string& path) {
    if (!path.empty()) spec.namespaces.push_back({type, path});
  };
  join("network", paths.net_ns);
  join("ipc", paths.ipc_ns);
  join("uts", paths.uts_ns);
  spec.namespaces.push_back({"mount", ""});
  // A privileged container manages the machine's cgroups, and so must see them.
  if (!inputs.container.security.privileged) spec.namespaces.push_back({"cgroup", ""});

  switch (options.pid) {
    case NamespaceMode::kNode:
      break;
    case NamespaceMode::kPod:
      spec.namespaces.push_back({"pid", paths.pid_ns});
      break;
    case NamespaceMode::kContainer:
      spec.namespaces.push_back({"pid", ""});
      break;
    case NamespaceMode::kTarget:
      if (inputs.target_pid_ns.empty()) {
        return InvalidField("namespace_options.target_id",
                            StrCat("container \"", Printable(options.target_id),
                                   "\" has no running process to share"));
      }
      spec.namespaces.push_back({"pid", inputs.target_pid_ns});
      break;
  }
  return Ok();
}

Status CheckPaths(std::string_view field, const std::vector<std::string>& paths,
                  std::vector<std::string>& out) {
  if (paths.size() > kMaxPaths) return InvalidField(field, StrCat("more than ", kMaxPaths));
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string clean, CleanContainerPath(field, path));
    if (clean == "/") return InvalidField(field, "\"/\"");
    out.push_back(std::move(clean));
  }
  return Ok();
}

std::vector<std::string> ThrottlePaths() {
  constexpr std::string_view kCpus = "/sys/devices/system/cpu";
  std::vector<std::string> paths;
  Result<UniqueFd> directory = Open(std::string(kCpus), O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) return paths;
  (void)ForEachEntry(directory->get(), [&](const std::string& name) {
    bool is_cpu = name.starts_with("cpu") && ParseNumber<int>(name.substr(3));
    std::string path = StrCat(kCpus, "/", name, "/thermal_throttle");
    if (is_cpu && access(path.c_str(), F_OK) == 0) paths.push_back(path);
    return Ok();
  });
  std::sort(paths.begin(), paths.end());
  return paths;
}

// What tells of the node, or of its other users by a side channel (CVE-2020-8694,
// GHSA-6fw5-f8r9-fgfm).
const std::vector<std::string>& DefaultMaskedPaths() {
  static const std::vector<std::string> paths = [] {
    std::vector<std::string> all = {
        "/proc/acpi",        "/proc/asound",  "/proc/interrupts",
        "/proc/kcore",       "/proc/keys",    "/proc/latency_stats",
        "/proc/sched_debug", "/proc/scsi",    "/proc/timer_list",
        "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap"};
    std::vector<std::string> throttle = ThrottlePaths();
    all.insert(all.end(), throttle.begin(), throttle.end());
    return all;
  }();
  return paths;
}

const std::vector<std::string>& DefaultReadonlyPaths() {
  static const std::vector<std::string> paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};
  return paths;
}

// Lists that were sent count as sent. An empty one is, in proto3, the same as none, and none must
// be safe: the default. (kubelet sends empty lists for procMount: Unmasked, which Kubernetes allows
// only in a pod with a user namespace.)
Status BuildPaths(const ContainerSecurityContext& security, OciSpec& spec) {
  if (security.privileged) return Ok();
  const auto& masked = security.masked_paths.empty() ? DefaultMaskedPaths() : security.masked_paths;
  const auto& readonly =
      security.readonly_paths.empty() ? DefaultReadonlyPaths() : security.readonly_paths;
  RETURN_IF_ERROR(CheckPaths("masked_paths", masked, spec.masked_paths));
  return CheckPaths("readonly_paths", readonly, spec.readonly_paths);
}

constexpr std::string_view kLocalhost = "localhost/";

// "runtime/default", "unconfined", "localhost/...": the older fields' spelling of a profile.
Result<std::optional<SecurityProfile>> ParseOlderProfile(std::string_view field,
                                                         const std::string& text) {
  if (text.empty()) return std::optional<SecurityProfile>();
  SecurityProfile profile;
  if (text == "runtime/default" || text == "docker/default") {
    profile.type = ProfileType::kRuntimeDefault;
  } else if (text == "unconfined") {
    profile.type = ProfileType::kUnconfined;
  } else if (text.starts_with(kLocalhost)) {
    profile = {ProfileType::kLocalhost, text.substr(kLocalhost.size())};
  } else {
    return InvalidField(field, StrCat("\"", Printable(text), "\" is no profile"));
  }
  return std::optional(profile);
}

// No profile asked for: the default one. kubelet always asks for one, so this is for other clients.
// A privileged container has none, whatever it asks for, as with containerd.
Status BuildSeccomp(const ContainerSecurityContext& security, OciSpec& spec) {
  std::optional<SecurityProfile> wanted = security.seccomp;
  if (!wanted) {
    ASSIGN_OR_RETURN(wanted,
                     ParseOlderProfile("seccomp_profile_path", security.seccomp_profile_path));
  }
  if (security.privileged) return Ok();
  SecurityProfile profile = wanted.value_or(SecurityProfile{});
  if (profile.type == ProfileType::kUnconfined) return Ok();
  if (profile.type == ProfileType::kLocalhost) {
    if (profile.localhost_ref.starts_with(kLocalhost)) {
      profile.localhost_ref.erase(0, kLocalhost.size());
    }
    ASSIGN_OR_RETURN(profile.localhost_ref,
                     CleanContainerPath("seccomp.localhost_ref", profile.localhost_ref));
  }
  spec.seccomp = std::move(profile);
  return Ok();
}

bool KernelHasAppArmor() {
  Result<std::string> enabled = ReadFile("/sys/module/apparmor/parameters/enabled", 16);
  return enabled.ok() && enabled->starts_with('Y');
}

// Profiles cannot be applied yet, and are refused rather than left out. The default is what there
// is: a kernel without AppArmor has none, and a privileged container needs none.
Status CheckAppArmor(const ContainerSecurityContext& security) {
  std::optional<SecurityProfile> wanted = security.apparmor;
  if (!wanted) {
    ASSIGN_OR_RETURN(wanted, ParseOlderProfile("apparmor_profile", security.apparmor_profile));
  }
  if (!wanted || wanted->type == ProfileType::kUnconfined) return Ok();
  const bool is_default = wanted->type == ProfileType::kRuntimeDefault;
  if (is_default && security.privileged) return Ok();
  if (KernelHasAppArmor()) return UnimplementedField("apparmor");
  if (is_default) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat("apparmor: profile \"", Printable(wanted->localhost_ref),
                      "\" cannot be applied: the kernel has no AppArmor"));
}

// Labels cannot be set yet. On a kernel without SELinux a process is as free as the types that mean
// "not confined", which many system pods name; any other label would be a promise not kept.
Status CheckSelinux(const ContainerSecurityContext& security) {
  if (!security.selinux || security.privileged) return Ok();
  const SelinuxOptions& options = *security.selinux;
  if (options.user.empty() && options.role.empty() && options.type.empty() &&
      options.level.empty()) {
    return Ok();
  }
  ASSIGN_OR_RETURN(bool has_selinux, Exists("/sys/fs/selinux/enforce"));
  if (has_selinux) return UnimplementedField("selinux_options");
  if (options.type == "spc_t" || options.type == "unconfined_t") return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat("selinux_options: label \"", Printable(options.user), ":",
                      Printable(options.role), ":", Printable(options.type), ":",
                      Printable(options.level), "\" cannot be applied: the kernel has no SELinux"));
}

}  // namespace

Status BuildSecurity(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerSecurityContext& security = inputs.container.security;
  RETURN_IF_ERROR(BuildNamespaces(inputs, spec));
  RETURN_IF_ERROR(BuildPaths(security, spec));
  RETURN_IF_ERROR(BuildSeccomp(security, spec));
  RETURN_IF_ERROR(CheckAppArmor(security));
  return CheckSelinux(security);
}

}  // namespace berth::runtime
