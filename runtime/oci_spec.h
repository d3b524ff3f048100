// The OCI runtime specification (runtime-spec 1.1, config.md and config-linux.md) of one container,
// as far as Berth writes it: made from CRI's configuration and the image's, flattened into a launch
// plan for the built-in runtime, written as config.json for others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/image.h"
#include "runtime/cgroup.h"
#include "runtime/types.h"

namespace berth::runtime {

struct OciRlimit {
  std::string type;  // "RLIMIT_NOFILE"
  uint64_t soft = 0, hard = 0;
};
// Names as in capabilities(7), "CAP_CHOWN", in the order of their numbers.
struct OciCapabilities {
  std::vector<std::string> bounding, effective, permitted, inheritable, ambient;
};
struct OciProcess {
  bool terminal = false;
  ContainerUser user;
  uint32_t umask = 0022;
  std::vector<std::string> args, env;  // env: "NAME=value", bytes
  std::string cwd = "/";
  OciCapabilities capabilities;
  std::vector<OciRlimit> rlimits;
  bool no_new_privileges = false;
  int oom_score_adj = 0;
  std::string apparmor_profile, selinux_label;  // empty: none
};
struct OciMount {
  // Type "bind" for bind mounts, "image" for an image's layers: then the source is a path in there.
  std::string destination, type, source;
  std::vector<std::string> options = {};  // "ro", "nosuid", "rbind", "rslave", "mode=1777"...
  size_t index = 0;                       // in ContainerConfig.mounts, of one of type "image"
  std::vector<IdMapping> uid_mappings = {}, gid_mappings = {};
};
struct OciDevice {
  std::string path;
  char type = 'c';
  int64_t major = 0, minor = 0;
  uint32_t file_mode = 0666;
  uint32_t uid = 0, gid = 0;
};
struct OciNamespace {
  std::string type;  // "pid", "network", "ipc", "uts", "mount", "cgroup", "user"
  std::string path;  // empty: a new one. A namespace that is not listed is the host's.
};
// A program that is run at a point of the container's life (runtime-spec, "POSIX-platform Hooks").
struct OciHook {
  std::string name;               // of the point: one of shim::wire::kHookNames
  std::string path;               // absolute
  std::vector<std::string> args;  // the first is what it sees as its name; none: the path
  std::vector<std::string> env;   // the whole: nothing is inherited
  uint32_t timeout_s = 0;         // 0: none of its own
};
struct OciSpec {
  OciProcess process;
  bool root_readonly = false;
  // The pod's uts namespace has it. For runtimes that look into none (gVisor); empty: the host's.
  std::string hostname;
  std::vector<OciMount> mounts;  // in the order of mounting
  std::vector<OciNamespace> namespaces;
  std::vector<IdMapping> uid_mappings, gid_mappings;  // of the user namespace
  std::vector<OciDevice> devices;
  std::vector<DeviceRule> device_rules;
  std::string cgroups_path;
  LinuxResources resources;
  std::vector<std::string> masked_paths, readonly_paths;
  std::string mount_label;  // SELinux's, of the root and of new file systems; empty: none
  std::string rootfs_propagation = "rprivate";  // "rprivate", "rslave", "rshared"
  std::vector<OciHook> hooks;                   // those of one point in their order
  // Which seccomp filter: nothing is unconfined; runtime/seccomp_profile.h compiles it.
  std::optional<SecurityProfile> seccomp;
};

// Where a pod's own files and namespaces are on the host.
struct PodPaths {
  std::string resolv_conf, hostname, hosts, shm;  // empty: not given to containers
  std::string net_ns, ipc_ns, uts_ns, pid_ns;     // empty: host's (net, ipc, uts) or own (pid)
  std::string user_ns;                            // empty: host's
};

struct SpecInputs {
  const PodConfig& pod;
  const ContainerConfig& container;
  const image::ImageConfig& image;
  const ContainerUser& user;  // looked up already: runtime/image_user.h
  std::string home;           // of that user, for HOME; empty: "/"
  PodPaths paths;
  std::string cgroups_path;
  std::string target_pid_ns;  // of the target container, for pid mode TARGET
  uint64_t rlimit_nofile_soft = 1024, rlimit_nofile_hard = 524288;
  std::vector<std::string> cdi_dirs = {};  // runtime/cdi.h
};

// InvalidArgument names the CRI field and what is wrong with it. Reads host files (devices) and
// touches nothing.
Result<OciSpec> BuildOciSpec(const SpecInputs& inputs);

// config.json's text. The seccomp filter is not in it: of a profile the spec knows the name only.
std::string OciSpecJson(const OciSpec& spec);

}  // namespace berth::runtime
