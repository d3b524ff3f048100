// CRI-O's crio.conf (crio.conf(5)) with its drop-ins, and registries.conf.
#include <map>

#include "base/strings.h"
#include "config/keys.h"
#include "config/migrate_hosts.h"
#include "config/migrator.h"

namespace berth::config {

namespace {

constexpr std::string_view kOwnStore =
    "=berth has directories of its own; images are pulled again, or moved by berth import";
constexpr std::string_view kNoMonitor = "=berth-shim stands in for conmon";
constexpr std::string_view kNoPause = "=there is no pause container";
constexpr std::string_view kNoHooks = "nothing is run or mounted that a pod has not asked for";
constexpr std::string_view kBuiltIn = "=built in";

void TakeCgroupManager(Migrator& migrator, const ForeignKey& from) {
  migrator.Take(from, "cgroup.driver", from.value);
}

// "nofile=1024:2048" is the one that berth has a key for.
void TakeUlimits(Migrator& migrator, const ForeignKey& from) {
  std::vector<std::string> others;
  std::string taken;
  for (const Json& part : from.value.is_array() ? from.value : Json::array()) {
    const std::string text = part.is_string() ? part.get<std::string>() : ToText(part);
    const size_t equals = text.find('='), colon = text.find(':');
    if (ToLower(text.substr(0, equals)) != "nofile" || equals == std::string::npos ||
        colon == std::string::npos) {
      others.push_back(Printable(text));
      continue;
    }
    auto soft = ParseNumber<uint64_t>(text.substr(equals + 1, colon - equals - 1));
    auto hard = ParseNumber<uint64_t>(text.substr(colon + 1));
    if (!soft || !hard || *soft > *hard) {
      others.push_back(Printable(text));
      continue;
    }
    migrator.result().config.runtime.rlimit_nofile_soft = *soft;
    migrator.result().config.runtime.rlimit_nofile_hard = *hard;
    taken = "runtime.rlimit_nofile_soft, _hard";
  }
  if (others.empty()) return migrator.Taken(from, taken);
  migrator.Missing(from, StrCat(taken.empty() ? "" : "nofile is taken; ", "no key for ",
                                Join(others, ", "), ": LimitX= in a drop-in of berthd.service"));
}

void TakePinned(Migrator& migrator, const ForeignKey& from) {
  Json pinned = migrator.result().config.image.pinned;
  std::vector<std::string> patterns;
  for (const Json& part : from.value.is_array() ? from.value : Json::array()) {
    const std::string name = part.is_string() ? part.get<std::string>() : "";
    if (name.find('*') != std::string::npos) {
      patterns.push_back(Printable(name));
    } else {
      pinned.push_back(part);
    }
  }
  if (patterns.empty()) return migrator.Take(from, "image.pinned", pinned);
  migrator.result().config.image.pinned = pinned.get<std::vector<std::string>>();
  migrator.Missing(from,
                   StrCat("image.pinned has whole names only; left out: ", Join(patterns, ", ")));
}

void TakeInsecure(Migrator& migrator, const ForeignKey& from) {
  std::vector<std::string> ranges;
  for (const Json& part : from.value.is_array() ? from.value : Json::array()) {
    const std::string name = part.is_string() ? part.get<std::string>() : "";
    if (!SkipVerify(migrator, name)) ranges.push_back(Printable(name));
  }
  if (ranges.empty()) {
    return migrator.Taken(from, "registry: skip_verify; set plain_http where there is no TLS");
  }
  migrator.Missing(from, StrCat("registries are named one by one; left out: ", Join(ranges, ", ")));
}

// NOLINTNEXTLINE(readability-function-size): a table
const std::vector<Rule>& Rules() {
  static const std::vector<Rule> rules = {
      {.key = "crio/root", .why = kOwnStore},
      {.key = "crio/runroot", .why = kOwnStore},
      {.key = "crio/imagestore", .why = kOwnStore},
      {.key = "crio/storage_driver", .why = "there is one snapshotter", .usual = "\"overlay\""},
      {.key = "crio/storage_option", .why = "overlayfs is mounted with fixed options"},
      {.key = "crio/log_dir", .why = "=kubelet names the directory of each pod's logs"},
      {.key = "crio/version_file", .why = "=recovery looks at what is there"},
      {.key = "crio/version_file_persist", .why = "=recovery looks at what is there"},
      {.key = "crio/clean_shutdown_file", .why = "=recovery looks at what is there"},
      {.key = "crio/internal_wipe", .why = "=after a reboot pods are stopped, images stay"},
      {.key = "crio/internal_repair", .why = "=layers that were not synced are pulled again"},
      {.key = "crio/api/listen",
       .why = "=kubelet's containerRuntimeEndpoint becomes unix:///run/berth/berth.sock"},
      {.key = "crio/api/host_ip",
       .why = "=pods of the host's network have the address that kubelet "
              "tells"},
      {.key = "crio/api/stream_address", .take = Same("streaming.address")},
      {.key = "crio/api/stream_port", .take = Number("streaming.port"), .usual = "\"0\""},
      {.key = "crio/api/stream_enable_tls",
       .why = "=streaming.tls_cert_file switches it on; without one there is no certificate"},
      {.key = "crio/api/stream_tls_cert", .take = Same("streaming.tls_cert_file")},
      {.key = "crio/api/stream_tls_key", .take = Same("streaming.tls_key_file")},
      {.key = "crio/api/stream_tls_ca", .why = "clients show a token and no certificate"},
      {.key = "crio/api/stream_tls_min_version", .why = "at least TLS 1.2"},
      {.key = "crio/api/stream_idle_timeout", .take = Duration("streaming.idle_timeout_s", 1000)},
      {.key = "crio/api/grpc_max_recv_msg_size", .why = "=16 MiB"},
      {.key = "crio/api/grpc_max_send_msg_size", .why = "=there is no limit"},
      {.key = "crio/runtime/cgroup_manager", .take = TakeCgroupManager},
      {.key = "crio/runtime/default_ulimits", .take = TakeUlimits},
      {.key = "crio/runtime/cdi_spec_dirs", .take = Same("runtime.cdi_dirs")},
      {.key = "crio/runtime/log_level", .take = TakeLogLevel},
      {.key = "crio/runtime/conmon", .why = kNoMonitor},
      {.key = "crio/runtime/conmon_cgroup", .why = kNoMonitor},
      {.key = "crio/runtime/conmon_env", .why = kNoMonitor},
      {.key = "crio/runtime/container_exits_dir", .why = kNoMonitor},
      {.key = "crio/runtime/container_attach_socket_dir", .why = kNoMonitor},
      {.key = "crio/runtime/drop_infra_ctr", .why = kNoPause},
      {.key = "crio/runtime/infra_ctr_cpuset", .why = kNoPause},
      {.key = "crio/runtime/namespaces_dir", .why = "=below berth's state"},
      {.key = "crio/runtime/pinns_path", .why = kBuiltIn},
      {.key = "crio/runtime/seccomp_profile",
       .why = "the default profile is built in; name others in the pod (Localhost)"},
      {.key = "crio/runtime/privileged_seccomp_profile", .why = "privileged containers have none"},
      {.key = "crio/runtime/apparmor_profile",
       .why = "the default profile is berth-default",
       .usual = "\"crio-default\""},
      {.key = "crio/runtime/selinux", .why = "=labels are set where the kernel has SELinux"},
      {.key = "crio/runtime/default_capabilities",
       .why = "the default set is that of containerd; name others in the pod"},
      {.key = "crio/runtime/add_inheritable_capabilities", .why = "none are inheritable"},
      {.key = "crio/runtime/default_sysctls", .why = "name sysctls in the pod's securityContext"},
      {.key = "crio/runtime/default_env", .why = "name variables in the pod"},
      {.key = "crio/runtime/allowed_devices", .why = "annotations give no devices: use CDI"},
      {.key = "crio/runtime/additional_devices", .why = "use CDI"},
      {.key = "crio/runtime/device_ownership_from_security_context",
       .why = "devices keep the owner that they have on the host"},
      {.key = "crio/runtime/hooks_dir", .why = kNoHooks},
      {.key = "crio/runtime/default_mounts_file", .why = kNoHooks},
      {.key = "crio/runtime/default_mounts", .why = kNoHooks},
      {.key = "crio/runtime/absent_mount_sources_to_reject",
       .why = "=a source that is missing is always refused"},
      {.key = "crio/runtime/bind_mount_prefix", .why = "paths are the host's"},
      {.key = "crio/runtime/pids_limit", .why = "=kubelet's podPidsLimit", .usual = "-1"},
      {.key = "crio/runtime/log_size_max", .why = "=kubelet's containerLogMaxSize", .usual = "-1"},
      {.key = "crio/runtime/log_to_journald", .why = "kubelet reads files"},
      {.key = "crio/runtime/log_filter", .why = "log_level is all there is"},
      {.key = "crio/runtime/read_only", .why = "set readOnlyRootFilesystem in the pod"},
      {.key = "crio/runtime/ctr_stop_timeout", .why = "=kubelet tells how long a stop may take"},
      {.key = "crio/runtime/no_pivot", .why = "containers always have a root of their own"},
      {.key = "crio/runtime/uid_mappings", .why = "use hostUsers: false in the pod"},
      {.key = "crio/runtime/gid_mappings", .why = "use hostUsers: false in the pod"},
      {.key = "crio/runtime/minimum_mappable_uid",
       .why = "kubelet chooses the mapping",
       .usual = "-1"},
      {.key = "crio/runtime/minimum_mappable_gid",
       .why = "kubelet chooses the mapping",
       .usual = "-1"},
      {.key = "crio/runtime/timezone", .why = "set TZ in the pod"},
      {.key = "crio/runtime/shared_cpuset", .why = "annotations set no resources"},
      {.key = "crio/runtime/irqbalance_config_file", .why = "interrupts are left alone"},
      {.key = "crio/runtime/irqbalance_config_restore_file", .why = "interrupts are left alone"},
      {.key = "crio/runtime/blockio_config_file", .why = "there are no block I/O classes"},
      {.key = "crio/runtime/blockio_reload", .why = "there are no block I/O classes"},
      {.key = "crio/runtime/rdt_config_file", .why = "there are no RDT classes"},
      {.key = "crio/runtime/enable_criu_support", .why = "there are no checkpoints"},
      {.key = "crio/runtime/enable_pod_events", .why = "=events are always there"},
      {.key = "crio/runtime/disable_hostport_mapping", .why = "leave portmap out of the network"},
      {.key = "crio/runtime/hostnetwork_disable_selinux",
       .why = "labels do not depend on it",
       .usual = "true"},
      {.key = "crio/runtime/decryption_keys_path", .why = "encrypted images are not decrypted"},
      {.key = "crio/image/default_transport",
       .why = "=images come from registries",
       .usual = "\"docker://\""},
      {.key = "crio/image/global_auth_file",
       .why = "credentials come with the pod, or by kubelet's credential provider"},
      {.key = "crio/image/namespaced_auth_dir", .why = "credentials come with the pod"},
      {.key = "crio/image/pause_image", .why = kNoPause},
      {.key = "crio/image/pause_image_auth_file", .why = kNoPause},
      {.key = "crio/image/pause_command", .why = kNoPause},
      {.key = "crio/image/pinned_images", .take = TakePinned},
      {.key = "crio/image/insecure_registries", .take = TakeInsecure},
      {.key = "crio/image/registries", .why = "write image names out in full"},
      {.key = "crio/image/signature_policy", .why = "signatures are for admission to check"},
      {.key = "crio/image/signature_policy_dir", .why = "signatures are for admission to check"},
      {.key = "crio/image/image_volumes",
       .why = "=VOLUME of an image makes no mount",
       .usual = "\"mkdir\""},
      {.key = "crio/image/big_files_temporary_dir", .why = "=there are no temporary files"},
      {.key = "crio/image/auto_reload_registries", .why = kBuiltIn},
      {.key = "crio/image/separate_pull_cgroup", .why = kBuiltIn},
      {.key = "crio/image/pull_progress_timeout", .take = Duration("image.stall_timeout_ms", 1)},
      {.key = "crio/image/short_name_mode", .why = "=a name without a registry is Docker Hub's"},
      {.key = "crio/image/oci_artifact_mount_support", .why = "=images are volumes, too"},
      {.key = "crio/network/cni_default_network", .why = "the first network by name is used"},
      {.key = "crio/network/network_dir", .take = Same("cni.conf_dir")},
      {.key = "crio/network/plugin_dirs", .take = Same("cni.bin_dirs")},
      {.key = "crio/metrics/**", .why = "set metrics.listen"},
      {.key = "crio/tracing/**", .why = "there is no tracing"},
      {.key = "crio/stats/**", .why = "=statistics are read when they are asked for"},
      {.key = "crio/nri/**", .why = "there is no NRI"},
  };
  return rules;
}

// Keys of one runtime, besides its type and program.
const std::vector<Rule>& RuntimeRules() {
  static const std::vector<Rule> rules = {
      {.key = "runtime_root", .why = "=the state of OCI runtimes is below berth's own"},
      {.key = "monitor_path", .why = kNoMonitor},
      {.key = "monitor_cgroup", .why = kNoMonitor},
      {.key = "monitor_env", .why = kNoMonitor},
      {.key = "monitor_exec_cgroup", .why = kNoMonitor},
      {.key = "allowed_annotations", .why = "annotations change no container"},
      {.key = "default_annotations", .why = "annotations change no container"},
      {.key = "privileged_without_host_devices",
       .why = "a privileged container always has the host's devices"},
      {.key = "runtime_config_path", .why = "give the program arguments instead: arguments = []"},
      {.key = "container_min_memory", .why = "=the kernel says what is too little"},
      {.key = "no_sync_log", .why = "=logs are not synced"},
      {.key = "platform_runtime_paths/**", .why = "the platform is the machine's"},
      {.key = "inherit_default_runtime", .why = "each handler says what it runs"},
  };
  return rules;
}

class CrioMigration {
 public:
  Result<Migration> Run(const CrioSources& sources) {
    ASSIGN_OR_RETURN(const std::vector<ForeignKey> keys, Read(sources));
    for (const ForeignKey& key : keys) Key(key);
    for (const auto& [name, runtime] : runtimes_) TakeRuntime(name, runtime);
    RETURN_IF_ERROR(TakeRegistriesConf(migrator_, sources.registries, sources.registry_drop_ins));
    return std::move(migrator_.result());
  }

 private:
  struct Runtime {
    std::vector<ForeignKey> keys;
    std::string type, path;
  };

  static Result<std::vector<ForeignKey>> Read(const CrioSources& sources) {
    ASSIGN_OR_RETURN(const std::vector<std::string> files, TomlOrConfFiles(sources.drop_ins));
    auto keys = ReadForeignToml(sources.config);
    if (!keys.ok() && (keys.code() != Code::kNotFound || files.empty())) return keys;
    std::vector<ForeignKey> all;
    if (keys.ok()) all = std::move(*keys);
    for (const std::string& file : files) {
      ASSIGN_OR_RETURN(std::vector<ForeignKey> more, ReadForeignToml(file));
      MergeForeign(all, std::move(more));
    }
    return all;
  }

  void Key(const ForeignKey& key) {
    const std::vector<std::string>& path = key.path;
    if (Matches("crio/runtime/default_runtime", path)) {
      return migrator_.Missing(key, "pods without a RuntimeClass always have the built-in runtime");
    }
    if (!Matches("crio/runtime/runtimes/*/**", path)) {
      return ApplyRules(migrator_, Rules(), key, path);
    }
    Runtime& runtime = runtimes_[path[3]];
    if (path.size() == 5 && (path[4] == "runtime_type" || path[4] == "runtime_path")) {
      const std::string text = key.value.is_string() ? key.value.get<std::string>() : "";
      (path[4] == "runtime_type" ? runtime.type : runtime.path) = text;
      runtime.keys.push_back(key);
      return;
    }
    ApplyRules(migrator_, RuntimeRules(), key, {path.begin() + 4, path.end()});
  }

  void TakeRuntime(const std::string& name, const Runtime& runtime) {
    std::string why;
    Status valid = CheckHandlerName(name);
    if (!valid.ok()) {
      why = valid.error().message();
    } else if (!runtime.type.empty() && runtime.type != "oci") {
      why = StrCat("a runtime of type ", Printable(runtime.type),
                   " is no program with the OCI runtimes' command line");
    } else if (runtime.path.empty() || runtime.path[0] != '/') {
      why = StrCat("set [runtime_handlers.", name, "] with the program's absolute path");
    } else {
      migrator_.result().config.runtime_handlers[name] = {"oci", runtime.path, {}};
    }
    for (const ForeignKey& key : runtime.keys) {
      if (why.empty()) {
        migrator_.Taken(key, StrCat("runtime_handlers.", name));
      } else {
        migrator_.Missing(key, why);
      }
    }
  }

  Migrator migrator_;
  std::map<std::string, Runtime> runtimes_;
};

}  // namespace

Result<Migration> MigrateCrio(const CrioSources& sources) {
  return CrioMigration().Run(sources);
}

}  // namespace berth::config
