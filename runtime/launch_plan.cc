#include "runtime/launch_plan.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "runtime/capabilities.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

using shim::wire::MountKind;
using shim::wire::MountPlan;

struct OptionFlag {
  std::string_view name;
  uint64_t set, clear;
};
// mount(8)'s names of what mount_setattr(2) sets.
constexpr std::array<OptionFlag, 14> kAttributes = {{
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME, 0},
    {"strictatime", MOUNT_ATTR_STRICTATIME, 0},
    {"relatime", 0, 0},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"defaults", 0, 0},
    {"bind", 0, 0},
}};
constexpr std::array<std::pair<std::string_view, uint64_t>, 6> kPropagations = {{
    {"private", MS_PRIVATE},
    {"rprivate", MS_PRIVATE},
    {"slave", MS_SLAVE},
    {"rslave", MS_SLAVE},
    {"shared", MS_SHARED},
    {"rshared", MS_SHARED},
}};
constexpr std::array<std::pair<std::string_view, int>, 16> kRlimits = {{
    {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_CORE", RLIMIT_CORE},
    {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},
    {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_NPROC", RLIMIT_NPROC},
    {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    {"RLIMIT_RTTIME", RLIMIT_RTTIME},
    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
}};
constexpr std::array<std::pair<std::string_view, int>, 7> kNamespaces = {{
    {"pid", CLONE_NEWPID},
    {"network", CLONE_NEWNET},
    {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS},
    {"mount", CLONE_NEWNS},
    {"cgroup", CLONE_NEWCGROUP},
    {"user", CLONE_NEWUSER},
}};

template <typename Table>
const auto* Lookup(const Table& table, std::string_view name) {
  for (const auto& entry : table) {
    if (entry.first == name) return &entry.second;
  }
  return static_cast<decltype(&table[0].second)>(nullptr);
}

// True if the option is one of mount_setattr's.
bool ApplyAttribute(std::string_view option, MountPlan& plan) {
  for (const OptionFlag& flag : kAttributes) {
    if (flag.name != option) continue;
    plan.attributes = (plan.attributes & ~flag.clear) | flag.set;
    return true;
  }
  return false;
}

void ApplyOption(const std::string& option, MountPlan& plan) {
  if (ApplyAttribute(option, plan)) return;
  if (const uint64_t* propagation = Lookup(kPropagations, option)) {
    plan.propagation = *propagation;
  } else if (option == "rbind") {
    plan.recursive = true;
  } else if (option == "rro") {
    plan.attributes |= MOUNT_ATTR_RDONLY;
    plan.recursive_attributes = true;
  } else {
    plan.options.push_back(option);
  }
}

MountKind KindOf(const std::string& type) {
  if (type == "bind") return MountKind::kBind;
  return type == "image" ? MountKind::kImage : MountKind::kFilesystem;
}

// File systems that are made for the container take ids as the host's, and a label for all files.
void AdaptOptions(const OciSpec& spec, MountPlan& plan) {
  for (std::string& option : plan.options) {
    const bool uid = option.starts_with("uid=");
    const std::vector<IdMapping>& mappings = uid ? spec.uid_mappings : spec.gid_mappings;
    if (mappings.empty() || (!uid && !option.starts_with("gid="))) continue;
    auto id = ParseNumber<uint32_t>(std::string_view(option).substr(4));
    if (!id) continue;
    option =
        StrCat(option.substr(0, 4), mappings[0].host_id + (*id < mappings[0].length ? *id : 0));
  }
  if (spec.mount_label.empty()) return;
  if (plan.fstype == "tmpfs" || plan.fstype == "devpts") {
    plan.options.push_back(StrCat("context=", spec.mount_label));
  } else if (plan.fstype == "mqueue") {
    // SELinux refuses the option for it: the policy labels its files, each by itself.
    plan.root_label = spec.mount_label;
  }
}

Result<MountPlan> MakeMount(const OciSpec& spec, const OciMount& mount) {
  MountPlan plan;
  plan.kind = KindOf(mount.type);
  plan.source = mount.source;
  plan.destination = mount.destination;
  plan.fstype = mount.type;
  for (const std::string& option : mount.options) ApplyOption(option, plan);
  if (plan.kind == MountKind::kFilesystem) {
    AdaptOptions(spec, plan);
  } else {
    if (!plan.options.empty()) {
      return Error(Code::kInvalidArgument, StrCat("mount ", Printable(mount.destination),
                                                  ": unknown option ", Printable(plan.options[0])));
    }
    // Atime behaviour is the file system's own in a bind mount: changing it needs the old one
    // cleared.
    plan.attributes &= MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    if (plan.propagation == 0) plan.propagation = MS_PRIVATE;
    plan.uids = IdRanges(mount.uid_mappings);
    plan.gids = IdRanges(mount.gid_mappings);
  }
  return plan;
}

// On cgroup v2 one mount shows the container its own cgroup as the root, because it is the root of
// its cgroup namespace. On v1 the container's directory of every hierarchy is bound below a tmpfs.
std::vector<MountPlan> CgroupMounts(const MountPlan& wanted, const CgroupJoin& cgroup) {
  MountPlan top = wanted;
  top.options.clear();
  top.source = "cgroup";
  if (cgroup.tasks_files.empty()) {
    top.fstype = "cgroup2";
    return {top};
  }
  const uint64_t read_only = wanted.attributes & MOUNT_ATTR_RDONLY;
  top.fstype = "tmpfs";
  top.options = {"mode=755", "size=64k"};
  top.attributes &= ~static_cast<uint64_t>(MOUNT_ATTR_RDONLY);  // until it has its directories
  std::vector<MountPlan> mounts = {top};
  for (const std::string& tasks : cgroup.tasks_files) {
    // "/sys/fs/cgroup/memory/kubepods/pod/id/tasks": the hierarchy's name is the fourth part.
    auto parts = Split(tasks, '/');
    if (parts.size() < 6) continue;
    MountPlan bind;
    bind.kind = MountKind::kBind;
    bind.source = tasks.substr(0, tasks.rfind('/'));
    bind.destination = StrCat(wanted.destination, "/", parts[4]);
    bind.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | read_only;
    bind.propagation = MS_PRIVATE;
    mounts.push_back(std::move(bind));
  }
  return mounts;
}

Status AddMounts(const LaunchInputs& inputs, shim::wire::LaunchPlan& plan) {
  for (const OciMount& mount : inputs.spec.mounts) {
    ASSIGN_OR_RETURN(MountPlan one, MakeMount(inputs.spec, mount));
    if (mount.type != "cgroup") {
      plan.mounts.push_back(std::move(one));
      continue;
    }
    for (MountPlan& part : CgroupMounts(one, inputs.cgroup)) plan.mounts.push_back(std::move(part));
    const bool read_only = (one.attributes & MOUNT_ATTR_RDONLY) != 0;
    if (read_only && !inputs.cgroup.tasks_files.empty()) {
      plan.readonly_paths.push_back(mount.destination);
    }
  }
  plan.readonly_paths.insert(plan.readonly_paths.end(), inputs.spec.readonly_paths.begin(),
                             inputs.spec.readonly_paths.end());
  plan.masked_paths = inputs.spec.masked_paths;
  return Ok();
}

Result<shim::wire::ProcessPlan> MakeProcess(const OciProcess& process, const std::string& seccomp) {
  shim::wire::ProcessPlan plan;
  plan.args = process.args;
  plan.env = process.env;
  plan.cwd = process.cwd;
  plan.terminal = process.terminal;
  plan.uid = static_cast<uint32_t>(process.user.uid);
  plan.gid = static_cast<uint32_t>(process.user.gid);
  plan.umask = process.umask;
  for (int64_t group : process.user.supplemental_groups) {
    plan.groups.push_back(static_cast<uint32_t>(group));
  }
  const OciCapabilities& capabilities = process.capabilities;
  ASSIGN_OR_RETURN(plan.bounding, CapabilitiesFromNames(capabilities.bounding));
  ASSIGN_OR_RETURN(plan.effective, CapabilitiesFromNames(capabilities.effective));
  ASSIGN_OR_RETURN(plan.permitted, CapabilitiesFromNames(capabilities.permitted));
  ASSIGN_OR_RETURN(plan.inheritable, CapabilitiesFromNames(capabilities.inheritable));
  ASSIGN_OR_RETURN(plan.ambient, CapabilitiesFromNames(capabilities.ambient));
  for (const OciRlimit& limit : process.rlimits) {
    const int* resource = Lookup(kRlimits, limit.type);
    if (resource == nullptr) {
      return Error(Code::kInvalidArgument, StrCat("unknown rlimit ", Printable(limit.type)));
    }
    plan.rlimits.push_back({*resource, limit.soft, limit.hard});
  }
  plan.no_new_privs = process.no_new_privileges;
  plan.oom_score_adj = process.oom_score_adj;
  plan.apparmor_profile = process.apparmor_profile;
  plan.selinux_label = process.selinux_label;
  plan.seccomp = seccomp;
  return plan;
}

Result<std::vector<shim::wire::HookPlan>> MakeHooks(const std::vector<OciHook>& hooks) {
  std::vector<shim::wire::HookPlan> plans;
  const auto& names = shim::wire::kHookNames;
  for (const OciHook& hook : hooks) {
    const auto* name = std::find(names.begin(), names.end(), hook.name);
    if (name == names.end()) {
      return Error(Code::kInvalidArgument, StrCat("unknown hook ", Printable(hook.name)));
    }
    const auto point = static_cast<shim::wire::HookPoint>(name - names.begin());
    plans.push_back({point, hook.path, hook.args, hook.env, hook.timeout_s});
  }
  return plans;
}

uint32_t DeviceFileType(char type) {
  if (type == 'b') return S_IFBLK;
  return type == 'p' ? S_IFIFO : S_IFCHR;
}

}  // namespace

Result<shim::wire::LaunchPlan> MakeLaunchPlan(const LaunchInputs& inputs) {
  const OciSpec& spec = inputs.spec;
  shim::wire::LaunchPlan plan;
  ASSIGN_OR_RETURN(plan.process, MakeProcess(spec.process, inputs.seccomp_filter));
  plan.hostname = spec.hostname;
  for (const OciNamespace& ns : spec.namespaces) {
    const int* flag = Lookup(kNamespaces, ns.type);
    if (flag == nullptr) {
      return Error(Code::kInvalidArgument, StrCat("unknown namespace ", Printable(ns.type)));
    }
    if (*flag != CLONE_NEWUSER) {
      plan.namespaces.push_back({*flag, ns.path});
    } else if (ns.path.empty() || spec.uid_mappings.empty() || spec.gid_mappings.empty()) {
      return Error(Code::kInvalidArgument, "a user namespace that is not the pod's");
    } else {
      plan.user_namespace = {ns.path, spec.uid_mappings[0].host_id, spec.gid_mappings[0].host_id};
    }
  }
  RETURN_IF_ERROR(AddMounts(inputs, plan));
  for (const OciDevice& device : spec.devices) {
    plan.devices.push_back({device.path, DeviceFileType(device.type) | device.file_mode,
                            static_cast<uint32_t>(device.major),
                            static_cast<uint32_t>(device.minor), device.uid, device.gid});
  }
  ASSIGN_OR_RETURN(plan.hooks.list, MakeHooks(spec.hooks));
  plan.root_readonly = spec.root_readonly;
  plan.keep_stdin_open = inputs.keep_stdin_open;
  plan.cgroup = {inputs.cgroup.directory, inputs.cgroup.tasks_files, inputs.cgroup.oom_file,
                 inputs.cgroup.exec_parent};
  plan.log = inputs.log;
  return plan;
}

}  // namespace berth::runtime
