// containerd's config.toml, versions 1 to 4 (containerd-config.toml(5), docs/cri/config.md). The
// plugins that serve CRI had other names in each: "cri" stands for all of them in the rules.
#include <glob.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "config/keys.h"
#include "config/migrate_hosts.h"
#include "config/migrator.h"

namespace berth::config {

namespace {

constexpr size_t kMaxImports = 100;
constexpr std::string_view kOwnStore =
    "=berth has directories of its own; images are pulled again, or moved by berth import";
constexpr std::string_view kOtherTools = "=kubelet needs no such thing";
constexpr std::string_view kRequestDecides = "kubelet decides for each pod";

// The runtimes, which are several keys each.
struct FoundRuntime {
  std::vector<ForeignKey> keys;
  std::string type, binary;
};

class ContainerdMigration {
 public:
  Result<Migration> Run(const std::string& path) {
    ASSIGN_OR_RETURN(std::vector<ForeignKey> keys, ReadWithImports(path));
    for (const ForeignKey& key : keys) Key(key);
    if (certs_) {
      RETURN_IF_ERROR(TakeCertsDirs(migrator_, *certs_, certs_->value.get<std::string>()));
    }
    TakeRuntimes();
    return std::move(migrator_.result());
  }

 private:
  // Imported files win, as in containerd; they import nothing themselves here.
  Result<std::vector<ForeignKey>> ReadWithImports(const std::string& path) {
    ASSIGN_OR_RETURN(std::vector<ForeignKey> keys, ReadForeignToml(path));
    std::vector<std::string> patterns;
    for (const ForeignKey& key : keys) {
      if (key.path != std::vector<std::string>{"imports"} || !key.value.is_array()) continue;
      for (const Json& part : key.value) {
        if (part.is_string()) patterns.push_back(part.get<std::string>());
      }
    }
    size_t count = 0;
    for (std::string pattern : patterns) {
      if (!pattern.empty() && pattern[0] != '/') {
        pattern = StrCat(path.substr(0, path.rfind('/') + 1), pattern);
      }
      glob_t found{};
      if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && count < kMaxImports; ++i, ++count) {
          auto more = ReadForeignToml(found.gl_pathv[i]);
          if (!more.ok()) {
            globfree(&found);
            return std::move(more).error().Wrap("imports");
          }
          MergeForeign(keys, std::move(*more));
        }
      }
      globfree(&found);
    }
    return keys;
  }

  static std::vector<std::string> Plain(const std::vector<std::string>& path) {
    static const std::set<std::string> kCri = {"cri", "io.containerd.grpc.v1.cri",
                                               "io.containerd.cri.v1.runtime",
                                               "io.containerd.cri.v1.images"};
    static const std::map<std::string, std::string> kServers = {
        {"io.containerd.server.v1.grpc", "grpc"},
        {"io.containerd.server.v1.grpc-tcp", "grpc-tcp"},
        {"io.containerd.server.v1.ttrpc", "ttrpc"},
        {"io.containerd.server.v1.debug", "debug"},
        {"io.containerd.server.v1.metrics", "metrics"}};
    if (path.size() < 2 || path[0] != "plugins") return path;
    std::vector<std::string> plain(path.begin() + 1, path.end());
    if (kCri.contains(plain[0])) {
      plain[0] = "cri";
    } else if (auto server = kServers.find(plain[0]); server != kServers.end()) {
      plain[0] = server->second;
    } else {
      return path;
    }
    return plain;
  }

  void Key(const ForeignKey& key) {
    const std::vector<std::string> path = Plain(key.path);
    if (Matches("cri/containerd/runtimes/*/**", path)) return Runtime(path[3], path, key);
    if (Matches("cri/registry/config_path", path) && key.value.is_string() &&
        !IsEmptyText(key.value)) {
      certs_ = key;
      return;
    }
    if (Matches("cri/registry/mirrors/*/endpoint", path)) {
      return TakeMirrors(migrator_, key, path[3]);
    }
    if (Matches("cri/registry/configs/*/tls/*", path)) {
      return TakeTls(migrator_, key, path[3], path[5]);
    }
    if (Matches("cri/containerd/default_runtime_name", path)) {
      if (key.value == "runc" || IsEmptyText(key.value)) {
        return migrator_.NotNeeded(key, "pods without a RuntimeClass have the built-in runtime");
      }
      return migrator_.Missing(key, StrCat("pods without a RuntimeClass always have the built-in "
                                           "runtime: give those that need ",
                                           key.ValueText(), " a RuntimeClass"));
    }
    ApplyRules(migrator_, Rules(), key, path);
  }

  void Runtime(const std::string& name, const std::vector<std::string>& path,
               const ForeignKey& key) {
    FoundRuntime& runtime = runtimes_[name];
    if (path.size() == 5 && path[4] == "runtime_type" && key.value.is_string()) {
      runtime.type = key.value.get<std::string>();
      runtime.keys.push_back(key);
    } else if (path.size() == 6 && path[5] == "BinaryName" && key.value.is_string()) {
      runtime.binary = key.value.get<std::string>();
      runtime.keys.push_back(key);
    } else {
      ApplyRules(migrator_, RuntimeRules(), key, {path.begin() + 4, path.end()});
    }
  }

  void TakeRuntimes() {
    for (const auto& [name, runtime] : runtimes_) TakeRuntime(name, runtime);
  }

  void TakeRuntime(const std::string& name, const FoundRuntime& runtime) {
    auto for_all = [&](auto note) {
      for (const ForeignKey& key : runtime.keys) note(key);
    };
    auto missing = [&](const std::string& why) {
      for_all([&](const ForeignKey& key) { migrator_.Missing(key, why); });
    };
    Status valid = CheckHandlerName(name);
    if (!valid.ok()) return missing(std::string(valid.error().message()));
    const bool runc = runtime.type.empty() || runtime.type.starts_with("io.containerd.runc.");
    if (!runc) {
      return missing(StrCat(
          Printable(runtime.type), " speaks containerd's shim protocol: if its program has the ",
          "command line of OCI runtimes, as runsc has, set [runtime_handlers.", name, "]"));
    }
    RuntimeHandler handler;
    if (!runtime.binary.empty() && runtime.binary != "runc") {
      if (runtime.binary[0] != '/') {
        return missing(StrCat("set [runtime_handlers.", name, "] with the absolute path of ",
                              Printable(runtime.binary)));
      }
      handler = {"oci", runtime.binary, {}};
    }
    migrator_.result().config.runtime_handlers[name] = handler;
    for_all([&](const ForeignKey& key) {
      migrator_.Taken(key, StrCat("runtime_handlers.", name,
                                  handler.type == "oci" ? "" : ", the built-in runtime"));
    });
  }

  static const std::vector<Rule>& Rules();
  static const std::vector<Rule>& RuntimeRules();

  Migrator migrator_;
  std::map<std::string, FoundRuntime> runtimes_;
  std::optional<ForeignKey> certs_;
};

void TakeBinDir(Migrator& migrator, const ForeignKey& from) {
  migrator.Take(from, "cni.bin_dirs", Json::array({from.value}));
}

void TakeLogLine(Migrator& migrator, const ForeignKey& from) {
  // containerd's -1 is "never split".
  migrator.Take(from, "runtime.max_log_line_bytes", from.value == -1 ? Json(1 << 20) : from.value);
}

void TakeSystemdCgroup(Migrator& migrator, const ForeignKey& from) {
  migrator.Take(from, "cgroup.driver", from.value == true ? "systemd" : "cgroupfs");
}

// Keys of one runtime, besides its type and program.
const std::vector<Rule>& ContainerdMigration::RuntimeRules() {
  static const std::vector<Rule> rules = {
      {.key = "options/SystemdCgroup", .take = TakeSystemdCgroup, .even_off = true},
      {.key = "options/Root", .why = "=the state of OCI runtimes is below berth's own"},
      {.key = "options/**", .why = "no option of the built-in runtime"},
      {.key = "runtime_path", .why = "=there is no shim of containerd's here"},
      {.key = "runtime_engine", .why = "=containerd itself has no use for it"},
      {.key = "runtime_root", .why = "=the state of OCI runtimes is below berth's own"},
      {.key = "privileged_without_host_devices",
       .why = "a privileged container always has the host's devices"},
      {.key = "privileged_without_host_devices_all_devices_allowed",
       .why = "a privileged container always has the host's devices"},
      {.key = "base_runtime_spec", .why = "there are no specifications to start from"},
      {.key = "cni_conf_dir", .why = "all handlers have the same network"},
      {.key = "cni_max_conf_num", .why = "=the first network configuration is used"},
      {.key = "snapshotter", .why = "there is one snapshotter", .usual = "\"overlayfs\""},
      {.key = "sandboxer", .why = "there is one kind of sandbox", .usual = "\"podsandbox\""},
      {.key = "pod_annotations", .why = "annotations are handed to no runtime"},
      {.key = "container_annotations", .why = "annotations are handed to no runtime"},
      {.key = "io_type", .why = "=the shim has the streams"},
      {.key = "cgroup_writable", .why = "only a privileged container may write its cgroups"},
  };
  return rules;
}

// NOLINTNEXTLINE(readability-function-size): a table
const std::vector<Rule>& ContainerdMigration::Rules() {
  static const std::vector<Rule> rules = {
      // The daemon itself.
      {.key = "version", .why = "=the form of containerd's own file"},
      {.key = "imports", .why = "=read; berth reads conf.d/*.toml beside its file"},
      {.key = "root", .why = kOwnStore},
      {.key = "state", .why = kOwnStore},
      {.key = "temp", .why = kOwnStore},
      {.key = "oom_score", .why = "=OOMScoreAdjust of berthd.service is -999", .usual = "-999"},
      {.key = "disabled_plugins", .why = "=there are no plugins"},
      {.key = "required_plugins", .why = "=there are no plugins"},
      {.key = "plugin_dir", .why = "there are no plugins"},
      {.key = "cgroup/path", .why = "set Slice= in a drop-in of berthd.service"},
      {.key = "grpc/address",
       .why = "=kubelet's containerRuntimeEndpoint becomes unix:///run/berth/berth.sock"},
      {.key = "grpc/gid", .take = Same("socket_gid")},
      {.key = "grpc/uid", .why = "the socket is root's and that of the group socket_gid"},
      {.key = "grpc/max_recv_message_size", .why = "=16 MiB", .usual = "16777216"},
      {.key = "grpc/max_send_message_size", .why = "=there is no limit"},
      {.key = "grpc/**", .why = "CRI is served on a unix socket only"},
      {.key = "grpc-tcp/max_recv_message_size", .why = "=there is no TCP", .usual = "16777216"},
      {.key = "grpc-tcp/max_send_message_size", .why = "=there is no TCP", .usual = "16777216"},
      {.key = "grpc-tcp/**", .why = "CRI is served on a unix socket only"},
      {.key = "ttrpc/**", .why = kOtherTools},
      {.key = "debug/level", .take = TakeLogLevel},
      {.key = "debug/format", .why = "logs have one form", .usual = "\"text\""},
      {.key = "debug/**", .why = "there is no debug socket"},
      {.key = "metrics/address", .take = Same("metrics.listen")},
      {.key = "metrics/grpc_histogram", .why = "=latencies of calls are always measured"},
      {.key = "timeouts/**", .why = "=time limits are built in, and calls end with their client's"},
      {.key = "stream_processors/**", .why = "encrypted images are not decrypted"},
      {.key = "proxy_plugins/**", .why = "there are no plugins"},
      // Pods and containers.
      {.key = "cri/sandbox_image", .why = "=there is no pause container"},
      {.key = "cri/sandbox", .why = "=there is no pause container"},
      {.key = "cri/pinned_images/sandbox", .why = "=there is no pause container"},
      {.key = "cri/pinned_images/*",
       .take =
           [](Migrator& migrator, const ForeignKey& from) {
             Json pinned = migrator.result().config.image.pinned;
             pinned.push_back(from.value);
             migrator.Take(from, "image.pinned", pinned);
           }},
      {.key = "cri/max_container_log_line_size", .take = TakeLogLine},
      {.key = "cri/systemd_cgroup", .take = TakeSystemdCgroup},
      {.key = "cri/enable_selinux", .why = "=labels are set where the kernel has SELinux"},
      {.key = "cri/selinux_category_range", .why = "=1024", .usual = "1024"},
      {.key = "cri/disable_apparmor", .why = kRequestDecides},
      {.key = "cri/disable_cgroup", .why = "every container has a cgroup"},
      {.key = "cri/disable_proc_mount", .why = kRequestDecides},
      {.key = "cri/restrict_oom_score_adj", .why = "berthd is root and sets what kubelet says"},
      {.key = "cri/tolerate_missing_hugetlb_controller", .why = "=a limit of 0 is ignored there"},
      {.key = "cri/disable_hugetlb_controller", .why = "=a limit of 0 is ignored without it"},
      {.key = "cri/device_ownership_from_security_context",
       .why = "devices keep the owner that they have on the host"},
      {.key = "cri/ignore_image_defined_volumes", .why = "=VOLUME of an image makes no mount"},
      {.key = "cri/netns_mounts_under_state_dir", .why = "=they always are"},
      {.key = "cri/enable_unprivileged_ports",
       .why = "set the sysctl net.ipv4.ip_unprivileged_port_start in the pod's securityContext"},
      {.key = "cri/enable_unprivileged_icmp",
       .why = "set the sysctl net.ipv4.ping_group_range in the pod's securityContext"},
      {.key = "cri/enable_cdi", .why = "=CDI is always there"},
      {.key = "cri/cdi_spec_dirs", .take = Same("runtime.cdi_dirs")},
      {.key = "cri/drain_exec_sync_io_timeout",
       .why = "=1 s after the process has ended",
       .usual = "\"0s\""},
      {.key = "cri/unset_seccomp_profile",
       .why = "kubelet's seccompDefault decides for pods that name none"},
      {.key = "cri/ignore_deprecation_warnings", .why = kOtherTools},
      {.key = "cri/stats_collect_period", .why = "=statistics are read when they are asked for"},
      {.key = "cri/stats_retention_period", .why = "=statistics are read when they are asked for"},
      {.key = "cri/disable_tcp_service", .why = "=exec, attach and port-forward need it"},
      {.key = "cri/stream_server_address", .take = Same("streaming.address")},
      {.key = "cri/stream_server_port", .take = Number("streaming.port"), .usual = "\"0\""},
      {.key = "cri/stream_idle_timeout", .take = Duration("streaming.idle_timeout_s", 1000)},
      {.key = "cri/enable_tls_streaming",
       .why = "=streaming.tls_cert_file switches it on; without one there is no certificate"},
      {.key = "cri/x509_key_pair_streaming/tls_cert_file", .take = Same("streaming.tls_cert_file")},
      {.key = "cri/x509_key_pair_streaming/tls_key_file", .take = Same("streaming.tls_key_file")},
      // Networks.
      {.key = "cri/cni/bin_dir", .take = TakeBinDir},
      {.key = "cri/cni/bin_dirs", .take = Same("cni.bin_dirs")},
      {.key = "cri/cni/conf_dir", .take = Same("cni.conf_dir")},
      {.key = "cri/cni/conf_template", .take = Same("cni.conf_template")},
      {.key = "cri/cni/max_conf_num",
       .why = "the first network configuration is used",
       .usual = "1"},
      {.key = "cri/cni/ip_pref",
       .why = "a pod's first address is its plugins' first",
       .usual = "\"ipv4\""},
      {.key = "cri/cni/use_internal_loopback", .why = "=the loopback is always set up in process"},
      {.key = "cri/cni/**", .why = "a network's plugins run in their order"},
      // Images.
      {.key = "cri/containerd/snapshotter",
       .why = "there is one snapshotter",
       .usual = "\"overlayfs\""},
      {.key = "cri/snapshotter", .why = "there is one snapshotter", .usual = "\"overlayfs\""},
      {.key = "cri/max_concurrent_downloads", .take = Same("image.max_parallel_layers")},
      {.key = "cri/max_concurrent_unpacks", .why = "=as many as image.max_parallel_layers"},
      {.key = "cri/concurrent_layer_fetch_buffer", .why = "=layers are streamed"},
      {.key = "cri/image_pull_progress_timeout", .take = Duration("image.stall_timeout_ms", 1)},
      {.key = "cri/image_pull_with_sync_fs", .why = "=layers are synced after each pull"},
      {.key = "cri/use_local_image_pull", .why = "=berthd pulls itself"},
      {.key = "cri/disable_snapshot_annotations", .why = kOtherTools},
      {.key = "cri/containerd/disable_snapshot_annotations", .why = kOtherTools},
      {.key = "cri/containerd/discard_unpacked_layers", .why = "=layers are not kept compressed"},
      {.key = "cri/discard_unpacked_layers", .why = "=layers are not kept compressed"},
      {.key = "cri/image_decryption/key_model",
       .why = "encrypted images are not decrypted",
       .usual = "\"node\""},
      {.key = "cri/runtime_platforms/**", .why = "the platform is the machine's"},
      {.key = "cri/registry/configs/*/auth/*",
       .why = "credentials come with the pod: imagePullSecrets, or kubelet's credential provider"},
      {.key = "cri/registry/config_path", .why = "not a list of directories"},
      {.key = "cri/registry/auths/**",
       .why = "credentials come with the pod: imagePullSecrets, or kubelet's credential provider"},
      {.key = "cri/registry/headers/**", .why = "no headers are added to requests"},
      {.key = "cri/containerd/no_pivot", .why = "containers always have a root of their own"},
      {.key = "cri/containerd/ignore_rdt_not_enabled_errors", .why = "there are no RDT classes"},
      {.key = "cri/containerd/ignore_blockio_not_enabled_errors",
       .why = "there are no block I/O classes"},
      {.key = "cri/containerd/default_runtime/**", .why = "use runtimes of a name"},
      {.key = "cri/containerd/untrusted_workload_runtime/**", .why = "use RuntimeClasses"},
      {.key = "plugins/io.containerd.nri.v1.nri/**", .why = "there is no NRI"},
      {.key = "plugins/io.containerd.gc.v1.scheduler/**",
       .why = "=what nothing uses is removed at once"},
      {.key = "plugins/**", .why = "=a part that berth does not have: no pod asks for it"},
  };
  return rules;
}

}  // namespace

Result<Migration> MigrateContainerd(const std::string& path) {
  return ContainerdMigration().Run(path);
}

}  // namespace berth::config
