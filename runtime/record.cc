#include "runtime/record.h"

#include "base/json.h"

// CBOR by way of JSON values. Strings go through as bytes, so an environment that is not UTF-8
// survives.

namespace nlohmann {

template <typename T>
struct adl_serializer<std::optional<T>> {
  static void to_json(json& j, const std::optional<T>& value) {
    if (value) {
      j = *value;
    } else {
      j = nullptr;
    }
  }
  static void from_json(const json& j, std::optional<T>& value) {
    if (j.is_null()) {
      value.reset();
    } else {
      value = j.get<T>();
    }
  }
};

}  // namespace nlohmann

namespace berth::runtime {

#define BERTH_FIELDS NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT
BERTH_FIELDS(PodMetadata, name, uid, namespace_, attempt)
BERTH_FIELDS(DnsConfig, servers, searches, options)
BERTH_FIELDS(PortMapping, protocol, container_port, host_port, host_ip)
BERTH_FIELDS(IdMapping, host_id, container_id, length)
BERTH_FIELDS(UserNamespace, mode, uids, gids)
BERTH_FIELDS(NamespaceOptions, network, pid, ipc, target_id, userns)
BERTH_FIELDS(SecurityProfile, type, localhost_ref)
BERTH_FIELDS(SelinuxOptions, user, role, type, level)
BERTH_FIELDS(LinuxResources, cpu_period_us, cpu_quota_us, cpu_shares, memory_limit_bytes,
             oom_score_adj, cpuset_cpus, cpuset_mems, hugepage_limits, unified,
             memory_swap_limit_bytes)
BERTH_FIELDS(PodSecurityContext, namespaces, selinux, run_as_user, run_as_group, readonly_rootfs,
             supplemental_groups, supplemental_groups_policy, privileged, seccomp, apparmor)
BERTH_FIELDS(PodConfig, metadata, hostname, log_directory, dns, port_mappings, labels, annotations,
             cgroup_parent, security, sysctls, overhead, resources)
BERTH_FIELDS(ImageSpec, image, annotations, user_specified_image, runtime_handler, image_ref)
BERTH_FIELDS(EnvVar, key, value)
BERTH_FIELDS(Mount, container_path, host_path, readonly, selinux_relabel, propagation, uid_mappings,
             gid_mappings, recursive_read_only, image, image_sub_path, mount_options)
BERTH_FIELDS(Device, container_path, host_path, permissions)
BERTH_FIELDS(Capabilities, add, drop, add_ambient)
BERTH_FIELDS(ContainerSecurityContext, capabilities, privileged, namespaces, selinux, run_as_user,
             run_as_group, run_as_username, readonly_rootfs, supplemental_groups,
             supplemental_groups_policy, no_new_privs, masked_paths, readonly_paths, seccomp,
             apparmor, seccomp_profile_path, apparmor_profile)
BERTH_FIELDS(ContainerMetadata, name, attempt)
BERTH_FIELDS(ContainerConfig, metadata, image, command, args, working_dir, envs, mounts, devices,
             labels, annotations, log_path, stdin, stdin_once, tty, resources, security,
             cdi_devices, stop_signal)
BERTH_FIELDS(ContainerUser, uid, gid, supplemental_groups)
BERTH_FIELDS(Pod, id, config, runtime_handler, state, created_at_ns, ips)
BERTH_FIELDS(Container, id, pod_id, config, state, created_at_ns, started_at_ns, finished_at_ns,
             exit_code, reason, message, image_id, image_ref, log_path, resources, user,
             stop_signal, pid)
BERTH_FIELDS(DeviceRule, allow, type, major, minor, access)
BERTH_FIELDS(ProcessIdentity, pid, start_time)
BERTH_FIELDS(FormerSetting, controller, file, value)
BERTH_FIELDS(FormerLimits, files, unit)
BERTH_FIELDS(ResourceUpdate, limits, scores)
BERTH_FIELDS(PodRecord, pod, phase, init, network, update)
BERTH_FIELDS(ContainerRecord, container, phase, layers, volume_layers, target_pid_ns, mount_label,
             cgroup_path, device_rules, init_start_time, update)
#undef BERTH_FIELDS

namespace {

template <typename T>
std::string Encode(const T& record) {
  std::string out;
  Json::to_cbor(Json(record), out);
  return out;
}

template <typename T>
Result<T> Decode(std::string_view bytes) {
  try {
    return Json::from_cbor(bytes).get<T>();
  } catch (const Json::exception& e) {
    return Error(Code::kDataLoss, StrCat("unreadable record: ", std::string(e.what())));
  }
}

}  // namespace

std::string EncodeRecord(const PodRecord& record) {
  return Encode(record);
}
std::string EncodeRecord(const ContainerRecord& record) {
  return Encode(record);
}
Result<PodRecord> DecodePodRecord(std::string_view bytes) {
  return Decode<PodRecord>(bytes);
}
Result<ContainerRecord> DecodeContainerRecord(std::string_view bytes) {
  return Decode<ContainerRecord>(bytes);
}

}  // namespace berth::runtime
