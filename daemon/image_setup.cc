#include "daemon/image_setup.h"

#include <unistd.h>

#include <string_view>

namespace berth::daemon {

Result<std::string> FindHelper(const std::string& configured, const std::string& name,
                               const std::string& key) {
  if (!configured.empty()) {
    if (access(configured.c_str(), X_OK) != 0) return ErrnoError(StrCat(key, ": ", configured));
    return configured;
  }
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  if (length < 0) return ErrnoError("readlink /proc/self/exe");
  std::string_view path(self, static_cast<size_t>(length));
  std::string beside = StrCat(path.substr(0, path.rfind('/') + 1), name);
  std::string installed = StrCat("/usr/libexec/berth/", name);
  for (const std::string& candidate : {beside, installed}) {
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return Error(Code::kNotFound,
               StrCat(name, " is neither ", beside, " nor ", installed, ": set ", key));
}

image::PullCgroupOptions PullCgroupOptionsOf(const config::Config::Image& config) {
  image::PullCgroupOptions options;
  options.path = config.pull_cgroup;
  options.cpu_weight = config.pull_cpu_weight;
  options.io_weight = config.pull_io_weight;
  return options;
}

image::PullerOptions PullerOptionsOf(const config::Config::Image& config) {
  image::PullerOptions options;
  for (const auto& [host, registry] : config.registries) {
    options.registry.hosts.push_back(
        {host, registry.plain_http, registry.skip_verify, registry.ca_file});
  }
  options.registry.config_dirs = config.registry_config_dirs;
  options.registry.credentials_file = config.credentials_file;
  options.max_parallel_layers = config.max_parallel_layers;
  options.stall_timeout_ms = config.stall_timeout_ms;
  return options;
}

}  // namespace berth::daemon
