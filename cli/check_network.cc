// What pods' networks need: a CNI configuration with its plugins, and the kernel's forwarding.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/context.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/strings.h"
#include "cli/check.h"

namespace berth::cli {

namespace {

constexpr int64_t kProgramMs = 10'000;

bool IsConfiguration(std::string_view name) {
  return name.ends_with(".conflist") || name.ends_with(".conf") || name.ends_with(".json");
}

// The first by name, as the daemon takes it. Empty if there is none.
std::string FirstConfiguration(const std::string& directory) {
  std::vector<std::string> names;
  auto dir = Open(directory, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return "";
  (void)ForEachEntry(dir->get(), [&](const std::string& name) {
    if (IsConfiguration(name)) names.push_back(name);
    return Ok();
  });
  if (names.empty()) return "";
  return StrCat(directory, "/", *std::min_element(names.begin(), names.end()));
}

void AddType(const Json& plugin, std::vector<std::string>& types) {
  if (!plugin.is_object()) return;
  if (auto type = plugin.find("type"); type != plugin.end() && type->is_string()) {
    types.push_back(type->get<std::string>());
  }
  if (auto ipam = plugin.find("ipam"); ipam != plugin.end()) AddType(*ipam, types);
}

std::vector<std::string> PluginTypes(const Json& configuration) {
  std::vector<std::string> types;
  auto plugins = configuration.find("plugins");
  if (plugins == configuration.end() || !plugins->is_array()) {
    AddType(configuration, types);
    return types;
  }
  for (const Json& plugin : *plugins) AddType(plugin, types);
  return types;
}

std::vector<std::string> Missing(const std::vector<std::string>& types,
                                 const std::vector<std::string>& directories) {
  std::vector<std::string> missing;
  for (const std::string& type : types) {
    const bool found = std::any_of(directories.begin(), directories.end(), [&](const auto& dir) {
      return access(StrCat(dir, "/", type).c_str(), X_OK) == 0;
    });
    if (!found) missing.push_back(type);
  }
  return missing;
}

void CheckCni(const config::Config& config, Findings& findings) {
  const std::string path = FirstConfiguration(config.cni.conf_dir);
  Finding finding{"CNI", Level::kOk, path, ""};
  if (path.empty()) {
    finding = {"CNI", Level::kWarning, StrCat("no configuration in ", config.cni.conf_dir),
               "install a network add-on, or begin with Berth's example 10-berth-bridge.conflist"};
    findings.push_back(std::move(finding));
    return;
  }
  auto text = ReadFile(path, 1 << 20);
  auto json = text.ok() ? ParseJson(*text) : Result<Json>(text.error());
  if (!json.ok() || !json->is_object()) {
    finding.level = Level::kProblem;
    finding.advice = json.ok() ? "it is not a JSON object" : json.error().message();
  } else if (auto missing = Missing(PluginTypes(*json), config.cni.bin_dirs); !missing.empty()) {
    finding.level = Level::kProblem;
    finding.found = StrCat(path, ": plugin ", Join(missing, ", "), " not found in ",
                           Join(config.cni.bin_dirs, ", "));
    finding.advice = "install containernetworking-plugins, or the network's own";
  }
  findings.push_back(std::move(finding));
}

// Whether rules of that kind can be made, tried in a network namespace of its own.
void CheckNat(Findings& findings) {
  SpawnOptions options;
  options.path = "/usr/bin/unshare";
  options.args = {"unshare", "--net", "iptables", "-t", "nat", "-N", "BERTH-CHECK"};
  options.env = {kProgramsPath};
  auto output = RunProgram(Context::WithTimeoutMs(kProgramMs), options, "");
  const bool works = output.ok() && output->exit_code == 0;
  std::string why;
  if (!works) why = output.ok() ? std::string(Trim(output->err)) : output.error().message();
  findings.push_back({"iptables", works ? Level::kOk : Level::kWarning,
                      works ? "NAT works" : StrCat("no NAT: ", why),
                      works ? ""
                            : "host ports and masquerading need it, unless your network add-on "
                              "brings its own"});
}

void CheckSysctl(const std::string& name, const std::string& lost, Findings& findings) {
  std::string path = "/proc/sys/" + name;
  std::replace(path.begin() + 10, path.end(), '.', '/');
  auto text = ReadFile(path);
  const bool on = text.ok() && Trim(*text) == "1";
  findings.push_back({name, on ? Level::kOk : Level::kWarning,
                      on ? "on" : (text.ok() ? "off" : "not there"),
                      on ? "" : StrCat(lost, "; set it in /etc/sysctl.d")});
}

}  // namespace

void CheckNetwork(const config::Config& config, Findings& findings) {
  CheckCni(config, findings);
  CheckNat(findings);
  CheckSysctl("net.ipv4.ip_forward", "pods reach nobody outside", findings);
  CheckSysctl("net.bridge.bridge-nf-call-iptables",
              "kube-proxy's rules miss traffic between pods of a bridge (modprobe br_netfilter)",
              findings);
}

}  // namespace berth::cli
