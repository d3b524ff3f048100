// The values that pass between cri/ and the runtime: CRI v1's messages as plain structs, with CRI's
// names (facts: kubernetes/cri-api, pkg/apis/runtime/v1/api.proto), plus what the runtime adds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace berth::runtime {

using StringMap = std::map<std::string, std::string>;

enum class Protocol { kTcp = 0, kUdp = 1, kSctp = 2 };
enum class NamespaceMode { kPod = 0, kContainer = 1, kNode = 2, kTarget = 3 };
enum class MountPropagation { kPrivate = 0, kHostToContainer = 1, kBidirectional = 2 };
enum class PodState { kReady = 0, kNotReady = 1 };
enum class ContainerState { kCreated = 0, kRunning = 1, kExited = 2, kUnknown = 3 };
enum class ProfileType { kRuntimeDefault = 0, kUnconfined = 1, kLocalhost = 2 };
enum class SupplementalGroupsPolicy { kMerge = 0, kStrict = 1 };

struct PodMetadata {
  std::string name, uid, namespace_;
  uint32_t attempt = 0;
};
struct DnsConfig {
  std::vector<std::string> servers, searches, options;
};
struct PortMapping {
  Protocol protocol = Protocol::kTcp;
  int32_t container_port = 0, host_port = 0;
  std::string host_ip;
};
struct IdMapping {
  uint32_t host_id = 0, container_id = 0, length = 0;
};
struct UserNamespace {
  NamespaceMode mode = NamespaceMode::kPod;
  std::vector<IdMapping> uids, gids;
};
struct NamespaceOptions {
  NamespaceMode network = NamespaceMode::kPod;
  NamespaceMode pid = NamespaceMode::kPod;
  NamespaceMode ipc = NamespaceMode::kPod;
  std::string target_id;
  std::optional<UserNamespace> userns;
};
struct SecurityProfile {
  ProfileType type = ProfileType::kRuntimeDefault;
  std::string localhost_ref;
};
struct SelinuxOptions {
  std::string user, role, type, level;
};

// LinuxContainerResources. 0 or empty: not set, except where CRI says otherwise.
struct LinuxResources {
  int64_t cpu_period_us = 0, cpu_quota_us = 0, cpu_shares = 0;
  int64_t memory_limit_bytes = 0;
  int64_t oom_score_adj = 0;
  std::string cpuset_cpus, cpuset_mems;
  std::vector<std::pair<std::string, uint64_t>> hugepage_limits;  // page size ("2MB"), bytes
  StringMap unified;
  int64_t memory_swap_limit_bytes = 0;
};

struct PodSecurityContext {
  NamespaceOptions namespaces;
  std::optional<SelinuxOptions> selinux;
  std::optional<int64_t> run_as_user, run_as_group;
  bool readonly_rootfs = false;
  std::vector<int64_t> supplemental_groups;
  SupplementalGroupsPolicy supplemental_groups_policy = SupplementalGroupsPolicy::kMerge;
  bool privileged = false;
  std::optional<SecurityProfile> seccomp, apparmor;
};
struct PodConfig {
  PodMetadata metadata;
  std::string hostname, log_directory;
  std::optional<DnsConfig> dns;
  std::vector<PortMapping> port_mappings;
  StringMap labels, annotations;
  std::string cgroup_parent;
  PodSecurityContext security;
  StringMap sysctls;
  std::optional<LinuxResources> overhead, resources;
};

struct ImageSpec {
  std::string image;
  StringMap annotations;
  std::string user_specified_image, runtime_handler, image_ref;
};
struct EnvVar {
  std::string key, value;  // value: bytes, not text
};
struct Mount {
  std::string container_path, host_path;
  bool readonly = false, selinux_relabel = false;
  MountPropagation propagation = MountPropagation::kPrivate;
  std::vector<IdMapping> uid_mappings, gid_mappings;
  bool recursive_read_only = false;
  std::optional<ImageSpec> image;
  std::string image_sub_path;
  std::vector<std::string> mount_options;
};
struct Device {
  std::string container_path, host_path, permissions;
};
struct Capabilities {
  std::vector<std::string> add, drop, add_ambient;
};
struct ContainerSecurityContext {
  std::optional<Capabilities> capabilities;
  bool privileged = false;
  std::optional<NamespaceOptions> namespaces;
  std::optional<SelinuxOptions> selinux;
  std::optional<int64_t> run_as_user, run_as_group;
  std::string run_as_username;
  bool readonly_rootfs = false;
  std::vector<int64_t> supplemental_groups;
  SupplementalGroupsPolicy supplemental_groups_policy = SupplementalGroupsPolicy::kMerge;
  bool no_new_privs = false;
  std::vector<std::string> masked_paths, readonly_paths;
  std::optional<SecurityProfile> seccomp, apparmor;
  std::string seccomp_profile_path, apparmor_profile;  // the older fields
};
struct ContainerMetadata {
  std::string name;
  uint32_t attempt = 0;
};
struct ContainerConfig {
  ContainerMetadata metadata;
  ImageSpec image;
  std::vector<std::string> command, args;
  std::string working_dir;
  std::vector<EnvVar> envs;
  std::vector<Mount> mounts;
  std::vector<Device> devices;
  StringMap labels, annotations;
  std::string log_path;  // relative to the pod's log_directory
  bool stdin = false, stdin_once = false, tty = false;
  LinuxResources resources;
  ContainerSecurityContext security;
  std::vector<std::string> cdi_devices;
  int stop_signal = 0;  // Linux's number; 0: the image's, else SIGTERM
};

// The ids a container's first process runs with (LinuxContainerUser).
struct ContainerUser {
  int64_t uid = 0, gid = 0;
  std::vector<int64_t> supplemental_groups;
};

// A pod as it is at one moment.
struct Pod {
  std::string id;
  PodConfig config;
  std::string runtime_handler;
  PodState state = PodState::kNotReady;
  int64_t created_at_ns = 0;
  std::vector<std::string> ips;  // the first is the primary one; none for host network
};

// A container as it is at one moment.
struct Container {
  std::string id, pod_id;
  ContainerConfig config;
  ContainerState state = ContainerState::kUnknown;
  int64_t created_at_ns = 0, started_at_ns = 0, finished_at_ns = 0;
  int32_t exit_code = 0;
  std::string reason, message;
  std::string image_id;      // digest of the image's configuration
  std::string image_ref;     // a repo digest where there is one, else the id
  std::string log_path;      // absolute
  LinuxResources resources;  // as last updated
  ContainerUser user;
  int stop_signal = 15;
  int32_t pid = 0;  // of the init process, in the host's PID namespace; 0 unless running
};

// Empty members match everything. `id` may be a prefix.
struct PodFilter {
  std::string id;
  std::optional<PodState> state;
  StringMap labels;
};
struct ContainerFilter {
  std::string id, pod_id;
  std::optional<ContainerState> state;
  StringMap labels;
};

}  // namespace berth::runtime
