#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "runtime/apparmor.h"
#include "runtime/lsm.h"
#include "runtime/oci_spec_parts.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxPaths = 8192;  // kubelet sends one for each CPU

// A container without a field of its own has its pod's.
const NamespaceOptions& OptionsOf(const SpecInputs& inputs) {
  const std::optional<NamespaceOptions>& own = inputs.container.security.namespaces;
  return own ? *own : inputs.pod.security.namespaces;
}

Status CheckNamespaces(const NamespaceOptions& options) {
  for (NamespaceMode mode : {options.network, options.ipc}) {
    if (mode != NamespaceMode::kPod && mode != NamespaceMode::kNode) {
      return InvalidField("namespace_options", "network and ipc are the pod's or the node's");
    }
  }
  return Ok();
}

Status BuildUserNamespace(const SpecInputs& inputs, OciSpec& spec) {
  const NamespaceOptions& pod = inputs.pod.security.namespaces;
  RETURN_IF_ERROR(CheckUserNamespace(pod));
  if (inputs.container.security.namespaces) {
    RETURN_IF_ERROR(CheckSameUserNamespace(pod, *inputs.container.security.namespaces));
  }
  if (!HasUserNamespace(pod)) return Ok();
  RETURN_IF_ERROR(CheckIdsAreMapped(pod, spec.process.user));
  spec.namespaces.push_back({"user", inputs.paths.user_ns});
  spec.uid_mappings = pod.userns->uids;
  spec.gid_mappings = pod.userns->gids;
  return Ok();
}

// Network, IPC and UTS are the pod's, as the pod was made; the container's word on them repeats it.
Status BuildNamespaces(const SpecInputs& inputs, OciSpec& spec) {
  const NamespaceOptions& options = OptionsOf(inputs);
  RETURN_IF_ERROR(CheckNamespaces(options));
  RETURN_IF_ERROR(BuildUserNamespace(inputs, spec));
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
// be safe: the default. But kubelet sends empty lists for procMount Unmasked, which Kubernetes
// allows in a pod with a user namespace; there they are taken at their word, since what they
// uncover is the host root's and not the container's.
Status BuildPaths(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerSecurityContext& security = inputs.container.security;
  if (security.privileged) return Ok();
  const bool none_is_none = HasUserNamespace(inputs.pod.security.namespaces);
  const bool default_masked = security.masked_paths.empty() && !none_is_none;
  const bool default_readonly = security.readonly_paths.empty() && !none_is_none;
  RETURN_IF_ERROR(CheckPaths("masked_paths",
                             default_masked ? DefaultMaskedPaths() : security.masked_paths,
                             spec.masked_paths));
  return CheckPaths("readonly_paths",
                    default_readonly ? DefaultReadonlyPaths() : security.readonly_paths,
                    spec.readonly_paths);
}

// No profile asked for is none, as the conformance suite has it; kubelet always asks for one. A
// privileged container has none, whatever it asks for, as with containerd.
Status BuildSeccomp(const ContainerSecurityContext& security, OciSpec& spec) {
  std::optional<SecurityProfile> wanted = security.seccomp;
  if (!wanted) {
    ASSIGN_OR_RETURN(wanted,
                     ParseOlderProfile("seccomp_profile_path", security.seccomp_profile_path));
  }
  if (security.privileged || !wanted || wanted->type == ProfileType::kUnconfined) return Ok();
  SecurityProfile profile = std::move(*wanted);
  if (profile.type == ProfileType::kLocalhost) {
    ASSIGN_OR_RETURN(
        profile.localhost_ref,
        CleanContainerPath("seccomp.localhost_ref", WithoutLocalhost(profile.localhost_ref)));
  }
  spec.seccomp = std::move(profile);
  return Ok();
}

Status BuildLabels(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerSecurityContext& security = inputs.container.security;
  std::optional<SecurityProfile> wanted = security.apparmor;
  if (!wanted) {
    ASSIGN_OR_RETURN(wanted, ParseOlderProfile("apparmor_profile", security.apparmor_profile));
  }
  ASSIGN_OR_RETURN(spec.process.apparmor_profile, AppArmorProfileFor(wanted, security.privileged));
  const NamespaceOptions& namespaces = OptionsOf(inputs);
  const SelinuxSubject subject = {
      security.selinux, security.privileged,
      namespaces.pid == NamespaceMode::kNode || namespaces.ipc == NamespaceMode::kNode,
      inputs.pod.metadata.uid};
  ASSIGN_OR_RETURN(auto labels, SelinuxLabelsFor(subject, KernelsSelinuxPolicy()));
  spec.process.selinux_label = labels.process;
  spec.mount_label = labels.mount;
  return Ok();
}

}  // namespace

Status BuildSecurity(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerSecurityContext& security = inputs.container.security;
  RETURN_IF_ERROR(BuildNamespaces(inputs, spec));
  RETURN_IF_ERROR(BuildPaths(inputs, spec));
  RETURN_IF_ERROR(BuildSeccomp(security, spec));
  return BuildLabels(inputs, spec);
}

}  // namespace berth::runtime
