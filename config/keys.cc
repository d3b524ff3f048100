#include "config/keys.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/strings.h"

namespace berth::config {

namespace {

Error Invalid(std::string what) {
  return {Code::kInvalidArgument, std::move(what)};
}

Status CheckPath(std::string& text) {
  if (text.empty() || text[0] != '/') {
    return Invalid(StrCat("\"", Printable(text), "\" is not an absolute path"));
  }
  if (text.find('\0') != std::string::npos) return Invalid("the path has a NUL byte");
  for (std::string_view part : Split(text, '/')) {
    if (part == "..") return Invalid(StrCat("\"", Printable(text), "\" has a \"..\" in it"));
  }
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return Ok();
}

Status CheckOptionalPath(std::string& text) {
  return text.empty() ? Ok() : CheckPath(text);
}

Status CheckSocket(std::string& text) {
  constexpr std::string_view kScheme = "unix://";
  if (text.compare(0, kScheme.size(), kScheme) == 0) text.erase(0, kScheme.size());
  RETURN_IF_ERROR(CheckPath(text));
  if (text == "/") return Invalid("\"/\" is not a socket");
  return Ok();
}

Status CheckCgroupDriver(std::string& text) {
  if (text == "auto" || text == "cgroupfs" || text == "systemd") return Ok();
  return Invalid(
      StrCat("\"", Printable(text), "\" is not a cgroup driver: auto, cgroupfs and systemd are"));
}

Status CheckHandlerType(std::string& text) {
  if (text == "builtin" || text == "oci") return Ok();
  return Invalid(StrCat("\"", Printable(text), "\" is not a type of handler: builtin and oci are"));
}

Status CheckImageName(std::string& text) {
  return text.empty() ? Status(Invalid("an image name is empty")) : Ok();
}

// An address that others can be told.
Status CheckAddress(std::string& text) {
  in6_addr address{};
  const bool v4 = inet_pton(AF_INET, text.c_str(), &address) == 1;
  const bool v6 = !v4 && inet_pton(AF_INET6, text.c_str(), &address) == 1;
  if (!v4 && !v6) return Invalid(StrCat("\"", Printable(text), "\" is not an IP address"));
  if (text == "0.0.0.0" || (v6 && IN6_IS_ADDR_UNSPECIFIED(&address))) {
    return Invalid(StrCat(text, " is no address that a URL can name: choose one of this machine"));
  }
  return Ok();
}

// A socket's path, or an address that only this machine reaches: whoever reaches it may read.
Status CheckMetricsListen(std::string& text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.empty()) return Ok();
  if (text.starts_with(kUnix) || text.starts_with('/')) {
    std::string path = text.starts_with('/') ? text : text.substr(kUnix.size());
    if (path.starts_with("//")) path.erase(0, 2);
    RETURN_IF_ERROR(CheckPath(path));
    text = StrCat(kUnix, path);
    return Ok();
  }
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  in_addr v4{};
  in6_addr v6{};
  const bool is_v4 = !bracketed && inet_pton(AF_INET, host.c_str(), &v4) == 1;
  const bool is_v6 = bracketed && inet_pton(AF_INET6, host.c_str(), &v6) == 1;
  const bool has_port = colon != std::string::npos && ParseNumber<uint16_t>(text.substr(colon + 1));
  if (!has_port || (!is_v4 && !is_v6)) {
    return Invalid(
        StrCat("\"", Printable(text), "\" is neither \"IP:PORT\" nor \"unix:/path\" of a socket"));
  }
  const bool loopback = is_v4 ? ntohl(v4.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&v6);
  if (loopback) return Ok();
  return Invalid(StrCat(host,
                        " can be reached from elsewhere, and metrics ask nobody for a "
                        "password: choose a loopback address or a unix socket"));
}

}  // namespace

std::vector<Key> KeysOf(Config& c) {
  constexpr int64_t kHour = 3'600'000;
  return {
      {"root", &c.root, CheckPath},
      {"containers_root", &c.containers_root, CheckOptionalPath},
      {"state", &c.state, CheckPath},
      {"listen", &c.listen, CheckSocket},
      {"socket_gid", &c.socket_gid, nullptr, 0, INT32_MAX},
      {"log_level", &c.log_level, nullptr, 0, 2},
      {"cni.conf_dir", &c.cni.conf_dir, CheckPath},
      {"cni.bin_dirs", &c.cni.bin_dirs, CheckPath},
      {"cni.cache_dir", &c.cni.cache_dir, CheckOptionalPath},
      {"cni.conf_template", &c.cni.conf_template, CheckOptionalPath},
      {"cgroup.driver", &c.cgroup.driver, CheckCgroupDriver},
      {"cgroup.default_parent", &c.cgroup.default_parent},
      {"image.max_parallel_layers", &c.image.max_parallel_layers, nullptr, 1, 64},
      {"image.stall_timeout_ms", &c.image.stall_timeout_ms, nullptr, 100, kHour},
      {"image.pull_cgroup", &c.image.pull_cgroup, CheckOptionalPath},
      {"image.pull_cpu_weight", &c.image.pull_cpu_weight, nullptr, 1, 10'000},
      {"image.pull_io_weight", &c.image.pull_io_weight, nullptr, 1, 10'000},
      {"image.keep_layer_blobs", &c.image.keep_layer_blobs},
      {"image.pinned", &c.image.pinned, CheckImageName},
      {"image.additional_stores", &c.image.additional_stores, CheckPath},
      {"image.registry_config_dirs", &c.image.registry_config_dirs, CheckPath},
      {"image.credentials_file", &c.image.credentials_file, CheckOptionalPath},
      {"streaming.address", &c.streaming.address, CheckAddress},
      {"streaming.port", &c.streaming.port, nullptr, 0, UINT16_MAX},
      {"streaming.tls_cert_file", &c.streaming.tls_cert_file, CheckOptionalPath},
      {"streaming.tls_key_file", &c.streaming.tls_key_file, CheckOptionalPath},
      {"streaming.idle_timeout_s", &c.streaming.idle_timeout_s, nullptr, 1, 365 * 24 * 3600},
      {"metrics.listen", &c.metrics.listen, CheckMetricsListen},
      {"runtime.shim_path", &c.runtime.shim_path, CheckOptionalPath},
      {"runtime.unpack_path", &c.runtime.unpack_path, CheckOptionalPath},
      {"runtime.rlimit_nofile_soft", &c.runtime.rlimit_nofile_soft, nullptr, 64, 1 << 30},
      {"runtime.rlimit_nofile_hard", &c.runtime.rlimit_nofile_hard, nullptr, 64, 1 << 30},
      {"runtime.max_log_line_bytes", &c.runtime.max_log_line_bytes, nullptr, 256, 1 << 20},
      {"runtime.cdi_dirs", &c.runtime.cdi_dirs, CheckPath},
      {"runtime.cni_timeout_ms", &c.runtime.cni_timeout_ms, nullptr, 100, kHour},
  };
}

std::vector<Key> KeysOf(Registry& registry) {
  return {
      {"plain_http", &registry.plain_http},
      {"skip_verify", &registry.skip_verify},
      {"ca_file", &registry.ca_file, CheckOptionalPath},
  };
}

Status CheckRegistryName(const std::string& host) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
  if (host.empty() || host.size() > 260 || host.find_first_not_of(kAllowed) != std::string::npos) {
    return Invalid(StrCat("\"", Printable(host), "\" is not a host or host:port"));
  }
  return Ok();
}

std::vector<Key> KeysOf(RuntimeHandler& handler) {
  return {
      {"type", &handler.type, CheckHandlerType},
      {"path", &handler.path, CheckOptionalPath},
      {"arguments", &handler.arguments},
  };
}

// What Kubernetes allows as the handler of a RuntimeClass (RFC 1123).
Status CheckHandlerName(const std::string& name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789-.";
  if (name.empty() || name.size() > 253 || name.find_first_not_of(kAllowed) != std::string::npos) {
    return Invalid("a handler's name is lower-case letters, digits, - and .");
  }
  return Ok();
}

namespace {

void FindHandlerConflicts(const Config& config, std::vector<Conflict>& conflicts) {
  for (const auto& [name, handler] : config.runtime_handlers) {
    std::string table = StrCat("runtime_handlers.", name);
    if (handler.type == "oci" && handler.path.empty()) {
      conflicts.push_back({StrCat(table, ".path"), "missing: which program is it?"});
    } else if (handler.type != "oci" && (!handler.path.empty() || !handler.arguments.empty())) {
      conflicts.push_back({StrCat(table, ".type"),
                           "builtin runs no program: leave path and "
                           "arguments out, or say type = \"oci\""});
    }
  }
}

}  // namespace

std::vector<Conflict> FindConflicts(const Config& config) {
  std::vector<Conflict> conflicts;
  if (config.runtime.rlimit_nofile_soft > config.runtime.rlimit_nofile_hard) {
    conflicts.push_back({"runtime.rlimit_nofile_soft",
                         StrCat(config.runtime.rlimit_nofile_soft, " is above rlimit_nofile_hard, ",
                                config.runtime.rlimit_nofile_hard)});
  }
  if (config.streaming.tls_cert_file.empty() != config.streaming.tls_key_file.empty()) {
    const bool no_cert = config.streaming.tls_cert_file.empty();
    conflicts.push_back(
        {no_cert ? "streaming.tls_key_file" : "streaming.tls_cert_file",
         StrCat("needs streaming.", no_cert ? "tls_cert_file" : "tls_key_file", " beside it")});
  }
  if (config.root == config.state) {
    conflicts.push_back({"state", StrCat(config.state,
                                         " is root, too: one survives a reboot and "
                                         "the other must not")});
  }
  if (config.root == "/") conflicts.push_back({"root", "\"/\" cannot be it"});
  if (config.state == "/") conflicts.push_back({"state", "\"/\" cannot be it"});
  for (const auto& [host, registry] : config.image.registries) {
    std::string table = StrCat("registry.", host);
    if (registry.plain_http && (registry.skip_verify || !registry.ca_file.empty())) {
      conflicts.push_back(
          {StrCat(table, ".plain_http"),
           "there is no certificate to check with plain HTTP: leave skip_verify and "
           "ca_file out"});
    } else if (registry.skip_verify && !registry.ca_file.empty()) {
      conflicts.push_back({StrCat(table, ".skip_verify"), "makes ca_file pointless: choose one"});
    }
  }
  FindHandlerConflicts(config, conflicts);
  return conflicts;
}

Status AssignText(const Key& key, std::string text) {
  if (key.check != nullptr) RETURN_IF_ERROR(key.check(text));
  if (auto* one = std::get_if<std::string*>(&key.target)) {
    **one = std::move(text);
  } else if (auto* list = std::get_if<std::vector<std::string>*>(&key.target)) {
    (*list)->push_back(std::move(text));
  } else {
    return Invalid("is not text");
  }
  return Ok();
}

Status AssignNumber(const Key& key, int64_t number) {
  if (number < key.min || number > key.max) {
    return Invalid(StrCat(number, " is not in the range ", key.min, " to ", key.max));
  }
  if (auto* small = std::get_if<int*>(&key.target)) {
    **small = static_cast<int>(number);
  } else if (auto* large = std::get_if<int64_t*>(&key.target)) {
    **large = number;
  } else if (auto* natural = std::get_if<uint64_t*>(&key.target)) {
    **natural = static_cast<uint64_t>(number);
  } else {
    return Invalid("is not a number");
  }
  return Ok();
}

}  // namespace berth::config
