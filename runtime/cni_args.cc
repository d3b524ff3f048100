#include "runtime/cni_args.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/cni_config.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxPortMappings = 4096;
// The bounds that Kubernetes sets on the annotations (pkg/util/bandwidth): 1k to 1P.
constexpr int64_t kMinBandwidth = 1000;
constexpr int64_t kMaxBandwidth = 1'000'000'000'000'000;

Error Invalid(const auto&... words) {
  return {Code::kInvalidArgument, StrCat(words...)};
}

// The factor of a quantity's suffix; 0 for none that is known.
long double Factor(std::string_view suffix) {
  struct Unit {
    std::string_view name;
    int base, power;
  };
  constexpr std::array<Unit, 16> kUnits = {{{"", 10, 0},
                                            {"n", 10, -9},
                                            {"u", 10, -6},
                                            {"m", 10, -3},
                                            {"k", 10, 3},
                                            {"M", 10, 6},
                                            {"G", 10, 9},
                                            {"T", 10, 12},
                                            {"P", 10, 15},
                                            {"E", 10, 18},
                                            {"Ki", 2, 10},
                                            {"Mi", 2, 20},
                                            {"Gi", 2, 30},
                                            {"Ti", 2, 40},
                                            {"Pi", 2, 50},
                                            {"Ei", 2, 60}}};
  for (const Unit& unit : kUnits) {
    if (unit.name == suffix) return std::pow(static_cast<long double>(unit.base), unit.power);
  }
  if (suffix[0] != 'e' && suffix[0] != 'E') return 0;
  suffix.remove_prefix(1);
  if (suffix.starts_with('+')) suffix.remove_prefix(1);
  auto exponent = ParseNumber<int>(suffix);
  if (!exponent || *exponent < -30 || *exponent > 30) return 0;
  return std::pow(10.0L, *exponent);
}

bool IsAddress(const std::string& text) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, text.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

Result<Json> PortMappings(const CniPod& pod) {
  Json list = Json::array();
  if (pod.port_mappings.size() > kMaxPortMappings) {
    return Invalid("port_mappings: more than ", kMaxPortMappings);
  }
  for (size_t i = 0; i < pod.port_mappings.size(); ++i) {
    const PortMapping& mapping = pod.port_mappings[i];
    std::string where = StrCat("port_mappings[", i, "]");
    if (mapping.host_port < 0 || mapping.host_port > 65535) {
      return Invalid(where, ".host_port: ", mapping.host_port, " is not within 0..65535");
    }
    if (mapping.host_port == 0) continue;
    if (mapping.container_port < 1 || mapping.container_port > 65535) {
      return Invalid(where, ".container_port: ", mapping.container_port, " is not within 1..65535");
    }
    if (!mapping.host_ip.empty() && !IsAddress(mapping.host_ip)) {
      return Invalid(where, ".host_ip: \"", Printable(mapping.host_ip, 64), "\" is no IP address");
    }
    constexpr std::array<const char*, 3> kProtocols = {"tcp", "udp", "sctp"};
    Json entry = {{"hostPort", mapping.host_port},
                  {"containerPort", mapping.container_port},
                  {"protocol", kProtocols.at(static_cast<size_t>(mapping.protocol))}};
    if (!mapping.host_ip.empty()) entry["hostIP"] = mapping.host_ip;
    list.push_back(std::move(entry));
  }
  return list;
}

Result<Json> Bandwidth(const CniPod& pod) {
  Json limits = Json::object();
  for (const char* direction : {"ingress", "egress"}) {
    std::string annotation = StrCat("kubernetes.io/", direction, "-bandwidth");
    auto it = pod.annotations.find(annotation);
    if (it == pod.annotations.end()) continue;
    ASSIGN_OR_RETURN(int64_t rate, ParseQuantity(it->second), "annotation ", annotation);
    if (rate < kMinBandwidth || rate > kMaxBandwidth) {
      return Invalid("annotation ", annotation, ": \"", Printable(it->second, 40),
                     "\" is not within 1k..1P");
    }
    limits[StrCat(direction, "Rate")] = rate;
    // No limit on bursts: the largest value that the plugin takes.
    limits[StrCat(direction, "Burst")] = INT32_MAX;
  }
  return limits;
}

}  // namespace

Result<int64_t> ParseQuantity(std::string_view text) {
  auto malformed = [&] { return Invalid("\"", Printable(text, 40), "\" is not a quantity"); };
  size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  std::string_view number = text.substr(0, end);
  size_t point = number.find('.');
  std::string_view whole = number.substr(0, point);
  std::string_view fraction = point == std::string_view::npos ? "" : number.substr(point + 1);
  if (whole.size() + fraction.size() == 0 || whole.size() > 18 || fraction.size() > 18 ||
      fraction.find('.') != std::string_view::npos) {
    return malformed();
  }
  long double value = 0;
  for (char c : whole) value = value * 10 + (c - '0');
  long double place = 1;
  for (char c : fraction) value += (c - '0') * (place /= 10);
  long double factor = Factor(text.substr(end));
  if (factor == 0) return malformed();
  value = std::ceil(value * factor);
  if (value > static_cast<long double>(int64_t{1} << 62)) return malformed();
  return static_cast<int64_t>(value);
}

Result<Json> CniCapabilities(const CniPod& pod) {
  Json capabilities = Json::object();
  ASSIGN_OR_RETURN(Json ports, PortMappings(pod));
  if (!ports.empty()) capabilities["portMappings"] = std::move(ports);
  ASSIGN_OR_RETURN(Json bandwidth, Bandwidth(pod));
  if (!bandwidth.empty()) capabilities["bandwidth"] = std::move(bandwidth);
  return capabilities;
}

Result<std::string> CniArgs(const CniPod& pod) {
  struct Pair {
    const char *key, *field;
    const std::string& value;
  };
  std::string args = "IgnoreUnknown=1";
  for (const Pair& pair : {Pair{"K8S_POD_NAMESPACE", "metadata.namespace", pod.namespace_},
                           Pair{"K8S_POD_NAME", "metadata.name", pod.name},
                           Pair{"K8S_POD_INFRA_CONTAINER_ID", "id", pod.id},
                           Pair{"K8S_POD_UID", "metadata.uid", pod.uid}}) {
    bool plain = std::all_of(pair.value.begin(), pair.value.end(), [](char c) {
      return static_cast<unsigned char>(c) > ' ' && c != 127 && c != ';' && c != '=';
    });
    if (!plain || pair.value.size() > 1024) {
      return Invalid(pair.field, ": \"", Printable(pair.value, 80),
                     "\" has blanks, ';', '=' or control characters, or is too long");
    }
    args += StrCat(";", pair.key, "=", pair.value);
  }
  return args;
}

}  // namespace berth::runtime
