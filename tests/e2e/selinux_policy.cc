#include "tests/e2e/selinux_policy.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "tests/testing/temp_dir.h"

namespace berth::e2e {

namespace {

constexpr char kCompiler[] = "/usr/bin/secilc";
constexpr char kSelinuxfs[] = "/sys/fs/selinux";
constexpr int kCategories = 1024;

// Of the classes only those that the rules below are about: what the policy does not know is
// allowed.
constexpr std::string_view kClasses = R"(
(handleunknown allow)
(mls true)
(policycap open_perms)
(policycap nnp_nosuid_transition)
(class process (transition dyntransition))
(class file (read write create getattr setattr append unlink execute entrypoint open relabelto))
(class dir (read write create getattr setattr add_name remove_name search rmdir open relabelto))
(classorder (process file dir))
)";

// The kernel's initial labels, in its order. `kernel` is that of all that runs when a policy is
// loaded.
constexpr std::string_view kInitialLabels[] = {"kernel",
                                               "security",
                                               "unlabeled",
                                               "fs",
                                               "file",
                                               "file_labels",
                                               "init",
                                               "any_socket",
                                               "port",
                                               "netif",
                                               "netmsg",
                                               "node",
                                               "igmp_packet",
                                               "icmp_socket",
                                               "tcp_socket",
                                               "sysctl_modprobe",
                                               "sysctl",
                                               "sysctl_fs",
                                               "sysctl_kernel",
                                               "sysctl_net",
                                               "sysctl_net_unix",
                                               "sysctl_vm",
                                               "sysctl_dev",
                                               "kmod",
                                               "policy",
                                               "scmp_packet",
                                               "devnull"};

constexpr std::string_view kRules = R"(
(user system_u)
(role object_r)
(role system_r)
(userrole system_u system_r)
(userrole system_u object_r)
(userlevel system_u low)
(userrange system_u all_levels)
(type kernel_t)
(type node_t)
(type secret_t)
(type container_t)
(type container_file_t)
(type spc_t)
(typeattribute any)
(typeattributeset any (kernel_t node_t secret_t container_t container_file_t spc_t))
(typeattribute free)
(typeattributeset free (kernel_t spc_t))
(typeattribute usable)
(typeattributeset usable (kernel_t node_t container_t container_file_t))
(roletype system_r any)
(roletype object_r any)
(allow any any (process (all)))
(allow free any (file (all)))
(allow free any (dir (all)))
(allow container_t usable (file (all)))
(allow container_t usable (dir (all)))
(mlsconstrain (file (read write open)) (or (dom h1 h2) (neq t1 container_t)))
(mlsconstrain (dir (read add_name)) (or (dom h1 h2) (neq t1 container_t)))
)";

std::string Categories() {
  std::string declared, order;
  for (int i = 0; i < kCategories; ++i) {
    declared += StrCat("(category c", i, ")\n");
    order += StrCat(" c", i);
  }
  return StrCat("(sensitivity s0)\n(sensitivityorder (s0))\n", declared, "(categoryorder (", order,
                "))\n(sensitivitycategory s0 (range c0 c", kCategories - 1,
                "))\n(level low (s0))\n(level high (s0 (range c0 c", kCategories - 1,
                ")))\n(levelrange all_levels (low high))\n(levelrange one_level (low low))\n");
}

std::string Labels() {
  std::string text, order;
  for (std::string_view label : kInitialLabels) {
    order += StrCat(" ", label);
    text += StrCat("(sid ", label, ")\n(sidcontext ", label,
                   label == "kernel" ? " (system_u system_r kernel_t all_levels))\n"
                                     : " (system_u object_r node_t one_level))\n");
  }
  text += StrCat("(sidorder (", order, "))\n");
  const std::pair<const char*, std::vector<const char*>> kinds[] = {
      {"fsuse xattr", {"ext4", "xfs", "overlay"}},
      {"fsuse trans", {"tmpfs", "devtmpfs", "devpts", "mqueue"}},
      {"fsuse task", {"pipefs", "sockfs"}}};
  for (const auto& [kind, types] : kinds) {
    for (const char* type : types) {
      text += StrCat("(", kind, " ", type, " (system_u object_r node_t one_level))\n");
    }
  }
  for (const char* type : {"proc", "sysfs", "cgroup", "cgroup2", "hostfs", "rootfs"}) {
    text += StrCat("(genfscon ", type, " \"/\" (system_u object_r node_t one_level))\n");
  }
  return text;
}

Status LoadPolicy() {
  const testing::TempDir dir;
  const std::string source = dir / "policy.cil", policy = dir / "policy";
  RETURN_IF_ERROR(
      AtomicWriteFileAt(AT_FDCWD, source, StrCat(kClasses, Categories(), kRules, Labels()), 0600));
  SpawnOptions compiler;
  compiler.path = kCompiler;
  compiler.args = {"secilc", "--mls", "true", "-U",        "allow",
                   "-o",     policy,  "-f",   "/dev/null", source};
  ASSIGN_OR_RETURN(auto compiled, RunProgram(Context::WithTimeoutMs(60'000), compiler, ""));
  if (compiled.exit_code != 0) return Error(Code::kInternal, compiled.err);
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(policy));
  // One write: the kernel takes a policy whole.
  ASSIGN_OR_RETURN(UniqueFd load, Open(StrCat(kSelinuxfs, "/load"), O_WRONLY));
  if (write(load.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    return ErrnoError("load policy");
  }
  return WriteFile(StrCat(kSelinuxfs, "/enforce"), "1");
}

}  // namespace

Result<std::string> WhyNoSelinuxPolicy() {
  ASSIGN_OR_RETURN(const bool is_mounted, Exists(StrCat(kSelinuxfs, "/enforce")));
  if (is_mounted) return std::string();
  auto modules = ReadFile("/sys/kernel/security/lsm");
  if (!modules.ok() || modules->find("selinux") == std::string::npos) {
    return std::string("this kernel has no SELinux");
  }
  if (access(kCompiler, X_OK) != 0) return std::string("secilc is not installed");
  if (mount("none", kSelinuxfs, "selinuxfs", MS_NOSUID | MS_NOEXEC, nullptr) != 0) {
    return ErrnoError("mount selinuxfs");
  }
  RETURN_IF_ERROR(LoadPolicy(), "SELinux policy");
  return std::string();
}

}  // namespace berth::e2e
