#include "runtime/cdi_edits.h"

#include <algorithm>
#include <array>

#include "runtime/oci_spec_parts.h"
#include "shim/wire/launch_plan.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxHooks = 64;  // of one containerEdits
constexpr int64_t kMaxTimeoutSeconds = 24 * 3600;

Error Wrong(std::string_view what) {
  return {Code::kInvalidArgument, std::string(what)};
}

Result<std::optional<uint32_t>> OptionalNumber(const Json& object, const char* key) {
  ASSIGN_OR_RETURN(int64_t number, JsonInt(object, key, -1));
  if (number < -1 || number > UINT32_MAX) return Wrong(StrCat(key, " is out of range"));
  return number < 0 ? std::nullopt : std::optional(static_cast<uint32_t>(number));
}

Result<CdiNode> ParseNode(const Json& json, int version) {
  RETURN_IF_ERROR(CheckCdiKeys(
      "deviceNodes", json,
      {"path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"}));
  CdiNode node;
  ASSIGN_OR_RETURN(node.device.container_path, JsonString(json, "path"));
  if (node.device.container_path.empty()) return Wrong("deviceNodes has an item without a path");
  ASSIGN_OR_RETURN(node.device.host_path, JsonString(json, "hostPath"));
  if (node.device.host_path.empty()) {
    node.device.host_path = node.device.container_path;
  } else {
    RETURN_IF_ERROR(CheckCdiVersion(version, 500, "deviceNodes.hostPath"));
  }
  ASSIGN_OR_RETURN(node.device.permissions, JsonString(json, "permissions"));
  ASSIGN_OR_RETURN(node.type, JsonString(json, "type"));
  if (node.type == "u") node.type = "c";  // mknod(1): unbuffered
  ASSIGN_OR_RETURN(auto major, OptionalNumber(json, "major"));
  ASSIGN_OR_RETURN(auto minor, OptionalNumber(json, "minor"));
  node.major = major.value_or(0);
  node.minor = minor.value_or(0);
  ASSIGN_OR_RETURN(node.mode, OptionalNumber(json, "fileMode"));
  ASSIGN_OR_RETURN(node.uid, OptionalNumber(json, "uid"));
  ASSIGN_OR_RETURN(node.gid, OptionalNumber(json, "gid"));
  return node;
}

bool Has(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// The name of a file system, "tmpfs". An image's layers are nobody's but CRI's to mount.
Status CheckMountType(const std::string& type) {
  const bool is_word = std::all_of(type.begin(), type.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
  if (is_word && type.size() < 64 && type != "image") return Ok();
  return Wrong(StrCat("mounts.type: \"", Printable(type), "\" is not the name of a file system"));
}

Result<OciMount> ParseMount(const Json& json, int version) {
  RETURN_IF_ERROR(CheckCdiKeys("mounts", json, {"hostPath", "containerPath", "type", "options"}));
  OciMount mount;
  ASSIGN_OR_RETURN(mount.source, JsonString(json, "hostPath"));
  ASSIGN_OR_RETURN(std::string target, JsonString(json, "containerPath"));
  ASSIGN_OR_RETURN(mount.destination, CleanContainerPath("mounts.containerPath", target));
  if (mount.destination == "/") return Wrong("mounts.containerPath is \"/\"");
  ASSIGN_OR_RETURN(mount.type, JsonString(json, "type"));
  if (!mount.type.empty()) RETURN_IF_ERROR(CheckCdiVersion(version, 400, "mounts.type"));
  RETURN_IF_ERROR(CheckMountType(mount.type));
  ASSIGN_OR_RETURN(mount.options, JsonStrings(json, "options"));
  const bool binds = Has(mount.options, "bind") || Has(mount.options, "rbind");
  if (mount.type.empty() || mount.type == "none" || binds) mount.type = "bind";
  if (mount.type != "bind") return mount;
  ASSIGN_OR_RETURN(mount.source, CleanContainerPath("mounts.hostPath", mount.source));
  // In front, where what the file says comes after them.
  mount.options.insert(mount.options.begin(), "rprivate");
  if (!binds) mount.options.insert(mount.options.begin(), "rbind");
  return mount;
}

// They are what an execve(2) is given.
Status CheckNoNul(std::string_view field, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos) return Wrong(StrCat(field, " has a NUL byte"));
  }
  return Ok();
}

Result<std::vector<std::string>> ParseEnv(const Json& object, std::string_view field) {
  ASSIGN_OR_RETURN(auto env, JsonStrings(object, "env"));
  for (const std::string& variable : env) {
    if (variable.find('=') == 0 || variable.find('=') == std::string::npos) {
      return Wrong(StrCat(field, ": \"", Printable(variable), "\" is not NAME=value"));
    }
  }
  RETURN_IF_ERROR(CheckNoNul(field, env));
  return env;
}

Result<std::vector<std::string>> ParseArgs(const Json& object) {
  std::vector<std::string> args;
  auto list = object.find("args");
  if (list == object.end() || list->is_null()) return args;
  if (!list->is_array()) return Wrong("hooks.args is no list");
  for (const Json& item : *list) {
    const Json one = {{"arg", item}};
    ASSIGN_OR_RETURN(std::string arg, CdiWord(one, "arg"), "hooks.args");
    args.push_back(std::move(arg));
  }
  RETURN_IF_ERROR(CheckNoNul("hooks.args", args));
  return args;
}

Result<OciHook> ParseHook(const Json& json) {
  RETURN_IF_ERROR(CheckCdiKeys("hooks", json, {"hookName", "path", "args", "env", "timeout"}));
  OciHook hook;
  ASSIGN_OR_RETURN(hook.name, JsonString(json, "hookName"), "hooks");
  const auto& names = shim::wire::kHookNames;
  if (std::find(names.begin(), names.end(), hook.name) == names.end()) {
    return Wrong(StrCat("hooks.hookName: \"", Printable(hook.name), "\" is no OCI hook"));
  }
  ASSIGN_OR_RETURN(std::string path, JsonString(json, "path"), "hooks");
  ASSIGN_OR_RETURN(hook.path, CleanContainerPath("hooks.path", path));
  ASSIGN_OR_RETURN(hook.args, ParseArgs(json));
  ASSIGN_OR_RETURN(hook.env, ParseEnv(json, "hooks.env"));
  ASSIGN_OR_RETURN(int64_t timeout, JsonInt(json, "timeout", 0), "hooks");
  auto there = json.find("timeout");
  const bool given = there != json.end() && !there->is_null();
  if (given && (timeout <= 0 || timeout > kMaxTimeoutSeconds)) {
    return Wrong(StrCat("hooks.timeout: ", timeout, " is not a number of seconds above 0"));
  }
  hook.timeout_s = static_cast<uint32_t>(timeout);
  return hook;
}

Status AddGroups(const Json& edits, int version, std::vector<int64_t>& groups) {
  auto list = edits.find("additionalGids");
  if (list == edits.end() || list->is_null()) return Ok();
  RETURN_IF_ERROR(CheckCdiVersion(version, 700, "additionalGids"));
  if (!list->is_array()) return Wrong("additionalGids is no list");
  for (const Json& group : *list) {
    if (!group.is_number_unsigned() || group.get<uint64_t>() >= UINT32_MAX) {
      return Wrong("additionalGids has something else than group ids");
    }
    // Root's is nobody's by a device.
    if (group.get<int64_t>() != 0) groups.push_back(group.get<int64_t>());
  }
  return Ok();
}

}  // namespace

Result<int> CdiVersion(const std::string& text) {
  constexpr std::array<int, 10> kReleased = {100, 200, 300, 400, 500, 600, 700, 800, 10000, 10100};
  for (int version : kReleased) {
    if (text == CdiVersionText(version) || text == StrCat("v", CdiVersionText(version))) {
      return version;
    }
  }
  return Wrong(StrCat("cdiVersion: \"", Printable(text), "\" is none of 0.1.0 to 1.1.0"));
}

std::string CdiVersionText(int version) {
  return StrCat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

Status CheckCdiVersion(int version, int needed, std::string_view field) {
  if (version >= needed) return Ok();
  return Wrong(StrCat(field, " is of cdiVersion ", CdiVersionText(needed), ", and the file is of ",
                      CdiVersionText(version)));
}

Status CheckCdiKeys(std::string_view what, const Json& object,
                    std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    if (value.is_null() || (value.is_structured() && value.empty())) continue;
    return Error(Code::kUnimplemented, StrCat(what, what.empty() ? "" : ".", Printable(key),
                                              " is not something that Berth does"));
  }
  return Ok();
}

Result<std::string> CdiWord(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found != object.end() && found->is_number_integer()) return found->dump();
  return JsonString(object, key);
}

Result<Json> CdiObjects(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) return Json::array();
  if (!found->is_array()) return Wrong(StrCat(key, " is no list"));
  for (const Json& item : *found) {
    if (!item.is_object()) return Wrong(StrCat(key, " has something else than objects"));
  }
  return *found;
}

Status AddCdiEdits(const Json& owner, int version, CdiEdits& out) {
  auto edits = owner.find("containerEdits");
  if (edits == owner.end() || edits->is_null()) return Ok();
  if (!edits->is_object()) return Wrong("containerEdits is no object");
  RETURN_IF_ERROR(CheckCdiKeys("containerEdits", *edits,
                               {"env", "deviceNodes", "mounts", "hooks", "additionalGids"}));
  ASSIGN_OR_RETURN(auto env, ParseEnv(*edits, "env"));
  out.env.insert(out.env.end(), env.begin(), env.end());
  ASSIGN_OR_RETURN(Json nodes, CdiObjects(*edits, "deviceNodes"));
  for (const Json& json : nodes) {
    ASSIGN_OR_RETURN(CdiNode node, ParseNode(json, version));
    out.nodes.push_back(std::move(node));
  }
  ASSIGN_OR_RETURN(Json mounts, CdiObjects(*edits, "mounts"));
  for (const Json& json : mounts) {
    ASSIGN_OR_RETURN(OciMount mount, ParseMount(json, version));
    out.mounts.push_back(std::move(mount));
  }
  ASSIGN_OR_RETURN(Json hooks, CdiObjects(*edits, "hooks"));
  if (hooks.size() > kMaxHooks) return Wrong(StrCat("hooks has more than ", kMaxHooks));
  for (const Json& json : hooks) {
    ASSIGN_OR_RETURN(OciHook hook, ParseHook(json));
    out.hooks.push_back(std::move(hook));
  }
  return AddGroups(*edits, version, out.groups);
}

}  // namespace berth::runtime
