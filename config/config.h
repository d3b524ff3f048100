// berthd's configuration: TOML, one main file and conf.d drop-ins. docs/CONFIGURATION.md lists the
// keys.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace berth::config {

struct Registry {  // [registry."host:port"]
  bool plain_http = false;
  bool skip_verify = false;
  std::string ca_file;
};

// Who carries out a container's start: Berth itself, or a program with the command line of the OCI
// runtimes (create, start, kill, delete, exec).
struct RuntimeHandler {          // [runtime_handlers.NAME]
  std::string type = "builtin";  // or "oci"
  std::string path;              // of the program; for "oci" only
  std::vector<std::string> arguments;
};

struct Config {
  std::string root = "/var/lib/berth";           // images, layers, meta.db: survives a reboot
  std::string containers_root;                   // writable layers; empty: in root
  std::string state = "/run/berth";              // namespaces, sockets: a tmpfs, gone with a reboot
  std::string listen = "/run/berth/berth.sock";  // a path; "unix://" in front of it is dropped
  int socket_gid = 0;

  struct Cni {
    std::string conf_dir = "/etc/cni/net.d";
    std::vector<std::string> bin_dirs = {"/opt/cni/bin", "/usr/lib/cni"};
    std::string cache_dir;  // empty: root + "/cni"
    // A configuration with {{.PodCIDR}} in it, written to conf_dir when kubelet tells the range.
    std::string conf_template;
  } cni;

  struct Cgroup {
    std::string driver = "auto";  // or "cgroupfs", "systemd"
    // Where containers go whose pod names no cgroup_parent; a slice for the systemd driver. Empty:
    // "/berth", or "berth.slice".
    std::string default_parent;
  } cgroup;

  struct Image {
    int max_parallel_layers = 6;
    int64_t stall_timeout_ms = 60'000;
    // Where unpack workers run; empty: beside the daemon. Weights are those of cgroup v2, 1 to
    // 10000.
    std::string pull_cgroup = "/berth-pull";
    int pull_cpu_weight = 20;
    int pull_io_weight = 20;
    bool keep_layer_blobs = false;  // beside the unpacked layers
    std::vector<std::string> pinned;
    // Roots that `berth preload` filled, used as they are.
    std::vector<std::string> additional_stores;
    std::map<std::string, Registry> registries;
    // Directories with HOST/hosts.toml; of several that know a host, the first.
    std::vector<std::string> registry_config_dirs = {"/etc/berth/certs.d",
                                                     "/etc/containerd/certs.d"};
    // Docker's config.json, for pulls that come without credentials; empty: none.
    std::string credentials_file;
  } image;

  struct Runtime {
    std::string shim_path;    // empty: beside berthd, then /usr/libexec/berth/berth-shim
    std::string unpack_path;  // likewise berth-unpack
    uint64_t rlimit_nofile_soft = 1024;
    uint64_t rlimit_nofile_hard = 524288;
    int64_t max_log_line_bytes = 16384;
    std::vector<std::string> cdi_dirs = {"/etc/cdi", "/var/run/cdi"};
    int64_t cni_timeout_ms = 30'000;
  } runtime;

  // The HTTP server of exec, attach and port-forward.
  struct Streaming {
    std::string address = "127.0.0.1";
    int port = 0;                             // 0: any that is free
    std::string tls_cert_file, tls_key_file;  // empty: without TLS
    int64_t idle_timeout_s = 4 * 3600;
  } streaming;

  // Prometheus.
  struct Metrics {
    std::string listen;  // "127.0.0.1:9430" or "unix:/path"; empty: not served
  } metrics;

  // By name. The built-in one is there in any case, as "".
  std::map<std::string, RuntimeHandler> runtime_handlers;

  int log_level = 0;  // glog's: 0 info, 1 warning, 2 error
};

// Reads `path` (missing is fine unless `required`) and then every *.toml in `path`'s directory +
// "/conf.d", in the order of their names; a later file wins key by key, and a list is replaced as a
// whole. An error names file, line and key.
Result<Config> Load(const std::string& path, bool required);

// Sets one key ("cni.conf_dir") that is text or a number, with the same checks: for command lines.
Status Set(Config& config, const std::string& key, const std::string& value);

// All keys with their values, as JSON text. Holds no secrets.
std::string ToJson(const Config& config);

// The default configuration as a commented TOML file.
std::string DefaultToml();

}  // namespace berth::config
