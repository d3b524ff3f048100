#include "cli/run_options.h"

#include <arpa/inet.h>

#include <cstdlib>

#include "base/strings.h"
#include "cli/client.h"

namespace berth::cli {
namespace {

constexpr int64_t kCpuPeriodUs = 100'000;
constexpr int64_t kMinCpuQuotaUs = 1'000;  // the kernel's

Error Invalid(std::string_view what, std::string_view text, std::string_view why) {
  return {Code::kInvalidArgument, StrCat(what, " \"", Printable(text), "\": ", why)};
}

Result<int32_t> PortNumber(std::string_view text, std::string_view whole) {
  const auto port = ParseNumber<int32_t>(text);
  if (!port || *port < 1 || *port > 65535) {
    return Invalid("port", whole, "a port is a number from 1 to 65535");
  }
  return *port;
}

Result<rt::Protocol> ProtocolOf(std::string_view text, std::string_view whole) {
  if (text == "tcp") return rt::TCP;
  if (text == "udp") return rt::UDP;
  if (text == "sctp") return rt::SCTP;
  return Invalid("port", whole, "the protocol is tcp, udp or sctp");
}

bool IsIpAddress(const std::string& text) {
  in6_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// "1", "1.5" or ".5" as thousandths.
std::optional<int64_t> ParseThousandths(std::string_view text) {
  const size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  std::string fraction(dot == std::string_view::npos ? "" : text.substr(dot + 1));
  if (fraction.size() > 3 || (whole.empty() && fraction.empty())) return std::nullopt;
  fraction.resize(3, '0');
  const auto high = whole.empty() ? 0 : ParseNumber<uint32_t>(whole);
  const auto low = ParseNumber<uint32_t>(fraction);
  if (!high || !low) return std::nullopt;
  return static_cast<int64_t>(*high) * 1000 + *low;
}

}  // namespace

Result<rt::PortMapping> ParsePort(std::string_view text) {
  rt::PortMapping mapping;
  std::string_view rest = text;
  if (const size_t slash = rest.rfind('/'); slash != std::string_view::npos) {
    ASSIGN_OR_RETURN(const rt::Protocol protocol, ProtocolOf(rest.substr(slash + 1), text));
    mapping.set_protocol(protocol);
    rest = rest.substr(0, slash);
  }
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return Invalid("port", text, "expected HOST:CONTAINER");
  ASSIGN_OR_RETURN(const int32_t container_port, PortNumber(rest.substr(colon + 1), text));
  rest = rest.substr(0, colon);
  if (const size_t ip_end = rest.rfind(':'); ip_end != std::string_view::npos) {
    std::string ip(rest.substr(0, ip_end));
    if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
    if (!IsIpAddress(ip)) return Invalid("port", text, "what stands first is no IP address");
    mapping.set_host_ip(ip);
    rest = rest.substr(ip_end + 1);
  }
  ASSIGN_OR_RETURN(const int32_t host_port, PortNumber(rest, text));
  mapping.set_container_port(container_port);
  mapping.set_host_port(host_port);
  return mapping;
}

Result<rt::Mount> ParseVolume(std::string_view text) {
  const std::vector<std::string_view> parts = Split(text, ':');
  if (parts.size() < 2 || parts.size() > 3) {
    return Invalid("volume", text, "expected HOST:CONTAINER[:ro]");
  }
  if (!parts[0].starts_with('/') || !parts[1].starts_with('/')) {
    return Invalid("volume", text, "both paths must be absolute");
  }
  rt::Mount mount;
  mount.set_host_path(std::string(parts[0]));
  mount.set_container_path(std::string(parts[1]));
  if (parts.size() == 3) {
    if (parts[2] != "ro" && parts[2] != "rw")
      return Invalid("volume", text, "the mode is ro or rw");
    mount.set_readonly(parts[2] == "ro");
  }
  return mount;
}

Result<rt::KeyValue> ParseEnv(std::string_view text) {
  const size_t equals = text.find('=');
  rt::KeyValue env;
  env.set_key(std::string(text.substr(0, equals)));
  if (env.key().empty()) return Invalid("env", text, "expected KEY=VALUE or KEY");
  if (equals != std::string_view::npos) {
    env.set_value(std::string(text.substr(equals + 1)));
    return env;
  }
  const char* value = getenv(env.key().c_str());
  if (value == nullptr) return Invalid("env", text, "not set in the environment");
  env.set_value(value);
  return env;
}

Result<int64_t> ParseMemory(std::string_view text) {
  constexpr std::string_view kUnits = "bkmg";
  std::string digits = ToLower(text);
  int shift = 0;
  if (!digits.empty()) {
    if (const size_t unit = kUnits.find(digits.back()); unit != std::string_view::npos) {
      shift = static_cast<int>(unit) * 10;
      digits.pop_back();
    }
  }
  const auto number = ParseNumber<int64_t>(digits);
  if (!number || *number <= 0 || *number > (INT64_MAX >> shift)) {
    return Invalid("memory", text, "expected a number with an optional unit of b, k, m or g");
  }
  return *number << shift;
}

Result<int64_t> ParseCpuQuotaUs(std::string_view text) {
  const auto thousandths = ParseThousandths(text);
  if (!thousandths) return Invalid("cpus", text, "expected a number such as 2 or 0.5");
  const int64_t quota = *thousandths * kCpuPeriodUs / 1000;
  if (quota < kMinCpuQuotaUs) return Invalid("cpus", text, "at least 0.01");
  return quota;
}

Status ParseUser(std::string_view text, rt::LinuxContainerSecurityContext& security) {
  const size_t colon = text.find(':');
  const std::string_view user = text.substr(0, colon);
  if (user.empty()) return Invalid("user", text, "expected USER or USER:GROUP");
  const auto uid = ParseNumber<uint32_t>(user);
  if (uid) {
    security.mutable_run_as_user()->set_value(*uid);
  } else {
    security.set_run_as_username(std::string(user));
  }
  if (colon == std::string_view::npos) return Ok();
  const auto gid = ParseNumber<uint32_t>(text.substr(colon + 1));
  if (!gid) return Invalid("user", text, "the group must be a number");
  security.mutable_run_as_group()->set_value(*gid);
  return Ok();
}

std::string DefaultName(std::string_view image) {
  image = image.substr(0, image.find('@'));
  if (const size_t slash = image.rfind('/'); slash != std::string_view::npos) {
    image = image.substr(slash + 1);
  }
  image = image.substr(0, image.find(':'));
  return StrCat(image.empty() ? "container" : image, "-", NewId().substr(0, 6));
}

Result<rt::PodSandboxConfig> MakePodConfig(const RunOptions& options, const std::string& uid,
                                           const std::string& log_directory) {
  rt::PodSandboxConfig config;
  config.mutable_metadata()->set_name(options.name);
  config.mutable_metadata()->set_namespace_("default");
  config.mutable_metadata()->set_uid(uid);
  config.set_log_directory(log_directory);
  (*config.mutable_labels())[kRunLabel] = uid;
  auto* security = config.mutable_linux()->mutable_security_context();
  security->set_privileged(options.privileged);
  auto* namespaces = security->mutable_namespace_options();
  namespaces->set_pid(rt::CONTAINER);
  if (options.host_network) {
    namespaces->set_network(rt::NODE);
  } else {
    config.set_hostname(options.name);
  }
  for (const std::string& port : options.ports) {
    ASSIGN_OR_RETURN(*config.add_port_mappings(), ParsePort(port));
  }
  return config;
}

Result<rt::ContainerConfig> MakeContainerConfig(const RunOptions& options,
                                                const std::string& image_id,
                                                const std::string& uid) {
  rt::ContainerConfig config;
  config.mutable_metadata()->set_name(options.name);
  config.mutable_image()->set_image(image_id);
  config.mutable_image()->set_user_specified_image(options.image);
  // The image's entrypoint stays; what the user typed takes the place of its command.
  config.mutable_args()->Assign(options.command.begin(), options.command.end());
  config.set_working_dir(options.workdir);
  config.set_log_path(StrCat(options.name, ".log"));
  (*config.mutable_labels())[kRunLabel] = uid;
  for (const std::string& env : options.envs) {
    ASSIGN_OR_RETURN(*config.add_envs(), ParseEnv(env));
  }
  for (const std::string& volume : options.volumes) {
    ASSIGN_OR_RETURN(*config.add_mounts(), ParseVolume(volume));
  }
  auto* linux_config = config.mutable_linux();
  auto* security = linux_config->mutable_security_context();
  security->set_privileged(options.privileged);
  security->set_readonly_rootfs(options.read_only);
  security->mutable_seccomp()->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  security->mutable_namespace_options()->set_pid(rt::CONTAINER);
  if (options.host_network) security->mutable_namespace_options()->set_network(rt::NODE);
  if (!options.user.empty()) RETURN_IF_ERROR(ParseUser(options.user, *security));
  auto* resources = linux_config->mutable_resources();
  if (!options.memory.empty()) {
    ASSIGN_OR_RETURN(const int64_t bytes, ParseMemory(options.memory));
    resources->set_memory_limit_in_bytes(bytes);
  }
  if (!options.cpus.empty()) {
    ASSIGN_OR_RETURN(const int64_t quota, ParseCpuQuotaUs(options.cpus));
    resources->set_cpu_period(kCpuPeriodUs);
    resources->set_cpu_quota(quota);
  }
  return config;
}

std::string LogRoot(const std::string& socket_path) {
  if (StrCat("unix://", socket_path) == kDefaultAddress) return "/var/log/berth";
  return StrCat(socket_path.substr(0, socket_path.rfind('/')), "/logs");
}

}  // namespace berth::cli
