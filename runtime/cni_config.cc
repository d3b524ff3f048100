#include "runtime/cni_config.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxPlugins = 32;
constexpr size_t kMaxFiles = 256;
constexpr std::array<std::string_view, 5> kVersions = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

Error Invalid(const auto&... words) {
  return {Code::kInvalidArgument, StrCat(words...)};
}

Status CheckType(const Json& object, std::string_view where) {
  ASSIGN_OR_RETURN(std::string type, JsonString(object, "type"), where);
  if (type.empty()) return Invalid(where, ".type is missing");
  if (!IsCniName(type)) {
    return Invalid(where, ".type: \"", Printable(type, 80), "\" is not a plain file name");
  }
  return Ok();
}

Status CheckPlugin(const Json& plugin, std::string_view where) {
  if (!plugin.is_object()) return Invalid(where, " is not an object");
  RETURN_IF_ERROR(CheckType(plugin, where));
  if (auto capabilities = plugin.find("capabilities"); capabilities != plugin.end()) {
    if (!capabilities->is_object()) return Invalid(where, ".capabilities is not an object");
    for (const auto& [name, on] : capabilities->items()) {
      if (!on.is_boolean()) {
        return Invalid(where, ".capabilities.", Printable(name, 80), " is not a boolean");
      }
    }
  }
  // The plugin executes this one; older ones do not check it.
  auto ipam = plugin.find("ipam");
  if (ipam != plugin.end() && ipam->is_object() && ipam->contains("type")) {
    RETURN_IF_ERROR(CheckType(*ipam, StrCat(where, ".ipam")));
  }
  return Ok();
}

bool IsConfigName(std::string_view name) {
  return name.ends_with(".conflist") || name.ends_with(".conf") || name.ends_with(".json");
}

Result<CniNetwork> LoadFile(int dir, const std::string& name) {
  // A FIFO in place of a file must not hold the caller up.
  ASSIGN_OR_RETURN(UniqueFd file, OpenAt(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  ASSIGN_OR_RETURN(std::string text, ReadToEnd(file.get(), kMaxFileBytes), name);
  ASSIGN_OR_RETURN(CniNetwork network, ParseCniNetwork(text, !name.ends_with(".conflist")), name);
  return network;
}

}  // namespace

bool IsCniName(std::string_view name) {
  auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= 200 && is_word(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_word(c) || c == '.' || c == '_' || c == '-'; });
}

bool HasCniCheck(const std::string& version) {
  return version != "0.3.0" && version != "0.3.1";
}

Result<CniNetwork> ParseCniNetwork(std::string_view text, bool single) {
  ASSIGN_OR_RETURN(Json json, ParseJson(text));
  if (!json.is_object()) return Invalid("not a JSON object");
  CniNetwork network;
  ASSIGN_OR_RETURN(network.name, JsonString(json, "name"));
  if (!IsCniName(network.name)) {
    return Invalid("name: \"", Printable(network.name, 80),
                   "\" is not of letters, digits, '.', '_' and '-'");
  }
  ASSIGN_OR_RETURN(network.version, JsonString(json, "cniVersion"));
  if (std::find(kVersions.begin(), kVersions.end(), network.version) == kVersions.end()) {
    return Invalid("cniVersion: \"", Printable(network.version, 40), "\" is not one of ",
                   "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
  }
  ASSIGN_OR_RETURN(network.disable_check, JsonBool(json, "disableCheck"));
  // A *.json file may hold either form.
  if (single && !json.contains("plugins")) {
    RETURN_IF_ERROR(CheckPlugin(json, "plugin"));
    network.plugins = Json::array({std::move(json)});
    return network;
  }
  network.plugins = json.value("plugins", Json());
  if (!network.plugins.is_array() || network.plugins.empty()) {
    return Invalid("plugins: not a list of at least one plugin");
  }
  if (network.plugins.size() > kMaxPlugins) return Invalid("plugins: more than ", kMaxPlugins);
  for (size_t i = 0; i < network.plugins.size(); ++i) {
    RETURN_IF_ERROR(CheckPlugin(network.plugins[i], StrCat("plugins[", i, "]")));
  }
  return network;
}

Json CniNetworkJson(const CniNetwork& network) {
  return Json{{"cniVersion", network.version},
              {"name", network.name},
              {"disableCheck", network.disable_check},
              {"plugins", network.plugins}};
}

Result<CniNetwork> LoadCniNetwork(const std::string& dir) {
  auto unavailable = [&](std::string_view why) {
    return Error(Code::kUnavailable, StrCat("CNI configuration: ", dir, ": ", why));
  };
  auto opened = Open(dir, O_RDONLY | O_DIRECTORY);
  if (!opened.ok()) {
    return unavailable(opened.code() == Code::kNotFound ? "the directory does not exist"
                                                        : opened.error().message());
  }
  std::vector<std::string> names;
  Status listed = ForEachEntry(opened->get(), [&](const std::string& name) {
    if (IsConfigName(name) && names.size() < kMaxFiles) names.push_back(name);
    return Ok();
  });
  if (!listed.ok()) return unavailable(listed.error().message());
  std::sort(names.begin(), names.end());
  std::string wrong;
  for (const std::string& name : names) {
    auto network = LoadFile(opened->get(), name);
    if (network.ok()) return network;
    if (wrong.empty()) wrong = network.error().message();
  }
  return unavailable(wrong.empty() ? "it has no *.conflist, *.conf or *.json" : wrong);
}

}  // namespace berth::runtime
