#include "runtime/cdi.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "base/file.h"
#include "base/json.h"
#include "runtime/oci_spec_parts.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxFileBytes = 4 << 20;
constexpr size_t kMaxFiles = 1000;
constexpr size_t kMaxDevices = 1000;  // of a request

Error Wrong(std::string_view what) {
  return {Code::kInvalidArgument, std::string(what)};
}

bool IsWord(std::string_view text, std::string_view besides) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           besides.find(c) != std::string_view::npos;
  });
}

bool IsKind(std::string_view kind) {
  const size_t slash = kind.find('/');
  return slash != std::string_view::npos && IsWord(kind.substr(0, slash), "_-.") &&
         IsWord(kind.substr(slash + 1), "_-.");
}

// Absent is as good as null or an empty list.
Result<Json> ListOf(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) return Json::array();
  if (!found->is_array()) return Wrong(StrCat(key, " is no list"));
  for (const Json& item : *found) {
    if (!item.is_object()) return Wrong(StrCat(key, " has something else than objects"));
  }
  return *found;
}

// An edit that is passed over would be a device that does not work, or is open to too many.
template <size_t N>
Status CheckKeys(std::string_view what, const Json& object,
                 const std::array<std::string_view, N>& known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    if (value.is_null() || (value.is_structured() && value.empty())) continue;
    return Error(Code::kUnimplemented,
                 StrCat(what, ".", Printable(key), " is not something that Berth does"));
  }
  return Ok();
}

Result<std::optional<uint32_t>> OptionalNumber(const Json& object, const char* key) {
  ASSIGN_OR_RETURN(int64_t number, JsonInt(object, key, -1));
  if (number < -1 || number > UINT32_MAX) return Wrong(StrCat(key, " is out of range"));
  return number < 0 ? std::nullopt : std::optional(static_cast<uint32_t>(number));
}

Result<CdiNode> ParseNode(const Json& json) {
  constexpr std::array<std::string_view, 9> kKnown = {
      "path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"};
  RETURN_IF_ERROR(CheckKeys("deviceNodes", json, kKnown));
  CdiNode node;
  ASSIGN_OR_RETURN(node.device.container_path, JsonString(json, "path"));
  if (node.device.container_path.empty()) return Wrong("deviceNodes has an item without a path");
  ASSIGN_OR_RETURN(node.device.host_path, JsonString(json, "hostPath", node.device.container_path));
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

Result<OciMount> ParseMount(const Json& json) {
  constexpr std::array<std::string_view, 4> kKnown = {"hostPath", "containerPath", "type",
                                                      "options"};
  RETURN_IF_ERROR(CheckKeys("mounts", json, kKnown));
  OciMount mount;
  ASSIGN_OR_RETURN(mount.source, JsonString(json, "hostPath"));
  ASSIGN_OR_RETURN(std::string target, JsonString(json, "containerPath"));
  ASSIGN_OR_RETURN(mount.destination, CleanContainerPath("mounts.containerPath", target));
  if (mount.destination == "/") return Wrong("mounts.containerPath is \"/\"");
  ASSIGN_OR_RETURN(mount.type, JsonString(json, "type"));
  if (mount.type.empty()) mount.type = "bind";
  if (mount.type != "bind" && mount.type != "tmpfs") {
    return Error(Code::kUnimplemented,
                 StrCat("mounts.type: \"", Printable(mount.type), "\" is neither bind nor tmpfs"));
  }
  if (mount.type == "bind") {
    ASSIGN_OR_RETURN(mount.source, CleanContainerPath("mounts.hostPath", mount.source));
    mount.options = {"rbind", "rprivate"};
  }
  ASSIGN_OR_RETURN(auto options, JsonStrings(json, "options"));
  mount.options.insert(mount.options.end(), options.begin(), options.end());
  return mount;
}

Status AddGroups(const Json& edits, std::vector<int64_t>& groups) {
  auto list = edits.find("additionalGids");
  if (list == edits.end() || list->is_null()) return Ok();
  if (!list->is_array()) return Wrong("additionalGids is no list");
  for (const Json& group : *list) {
    if (!group.is_number_unsigned() || group.get<uint64_t>() >= UINT32_MAX) {
      return Wrong("additionalGids has something else than group ids");
    }
    groups.push_back(group.get<int64_t>());
  }
  return Ok();
}

// `owner` has containerEdits, or none.
Status AddEdits(const Json& owner, CdiEdits& out) {
  constexpr std::array<std::string_view, 4> kKnown = {"env", "deviceNodes", "mounts",
                                                      "additionalGids"};
  auto edits = owner.find("containerEdits");
  if (edits == owner.end() || edits->is_null()) return Ok();
  if (!edits->is_object()) return Wrong("containerEdits is no object");
  RETURN_IF_ERROR(CheckKeys("containerEdits", *edits, kKnown));
  ASSIGN_OR_RETURN(auto env, JsonStrings(*edits, "env"));
  for (std::string& variable : env) {
    if (variable.find('=') == 0 || variable.find('=') == std::string::npos) {
      return Wrong(StrCat("env: \"", Printable(variable), "\" is not NAME=value"));
    }
    out.env.push_back(std::move(variable));
  }
  ASSIGN_OR_RETURN(Json nodes, ListOf(*edits, "deviceNodes"));
  for (const Json& json : nodes) {
    ASSIGN_OR_RETURN(CdiNode node, ParseNode(json));
    out.nodes.push_back(std::move(node));
  }
  ASSIGN_OR_RETURN(Json mounts, ListOf(*edits, "mounts"));
  for (const Json& json : mounts) {
    ASSIGN_OR_RETURN(OciMount mount, ParseMount(json));
    out.mounts.push_back(std::move(mount));
  }
  return AddGroups(*edits, out.groups);
}

struct File {
  explicit File(std::string its_path) : path(std::move(its_path)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::string path;
  Json json;
  bool is_used = false;
};

struct Entry {
  File* file;
  const Json* device;
  size_t directory;
};

// The files of all directories, and which of them has which device.
class Registry {
 public:
  Status Read(const std::vector<std::string>& directories) {
    for (size_t i = 0; i < directories.size(); ++i) {
      auto directory = Open(directories[i], O_RDONLY | O_DIRECTORY);
      if (!directory.ok()) continue;  // most nodes have none
      std::vector<std::string> names;
      RETURN_IF_ERROR(ForEachEntry(directory->get(), [&](const std::string& name) {
        names.push_back(name);
        return Ok();
      }));
      std::sort(names.begin(), names.end());
      for (const std::string& name : names) ReadOne(directories[i], directory->get(), name, i);
    }
    return Ok();
  }

  Result<Entry> Find(const std::string& name) const {
    auto found = devices_.find(name);
    if (found == devices_.end()) {
      return Error(Code::kNotFound, StrCat("no file describes the device", Remarks()));
    }
    if (found->second.file == nullptr) {
      return Error(Code::kFailedPrecondition, "more than one file describes the device");
    }
    return found->second;
  }

 private:
  void ReadOne(const std::string& directory, int fd, const std::string& name, size_t rank) {
    const std::string path = StrCat(directory, "/", name);
    if (name.ends_with(".yaml") || name.ends_with(".yml")) {
      remarks_.push_back(StrCat(Printable(path), " is YAML, and only JSON is read"));
    }
    if (!name.ends_with(".json") || files_.size() >= kMaxFiles) return;
    auto file = std::make_unique<File>(path);
    Status read = Parse(fd, name, rank, *file);
    if (read.ok()) {
      files_.push_back(std::move(file));
    } else {
      remarks_.push_back(StrCat(Printable(path), ": ", read.error().message()));
    }
  }

  Status Parse(int directory, const std::string& name, size_t rank, File& file) {
    ASSIGN_OR_RETURN(std::string text, ReadFileAt(directory, name, kMaxFileBytes));
    ASSIGN_OR_RETURN(file.json, ParseJson(text));
    if (!file.json.is_object()) return Wrong("not an object");
    ASSIGN_OR_RETURN(std::string kind, JsonString(file.json, "kind"));
    if (!IsKind(kind)) return Wrong(StrCat("kind: \"", Printable(kind), "\" is not vendor/class"));
    RETURN_IF_ERROR(ListOf(file.json, "devices"));
    std::map<std::string, Entry> own;
    for (const Json& device : file.json["devices"]) {
      ASSIGN_OR_RETURN(std::string word, JsonString(device, "name"));
      if (!IsWord(word, "_-.:")) return Wrong("devices has one without a name");
      own[StrCat(kind, "=", word)] = {&file, &device, rank};
    }
    for (auto& [full_name, entry] : own) Add(full_name, entry);
    return Ok();
  }

  // Of one directory no file comes first: what two of them describe is in doubt.
  void Add(const std::string& name, const Entry& entry) {
    auto [place, is_new] = devices_.try_emplace(name, entry);
    if (is_new) return;
    const bool in_doubt = place->second.directory == entry.directory;
    place->second = entry;
    if (in_doubt) place->second.file = nullptr;
  }

  std::string Remarks() const {
    return remarks_.empty() ? "" : StrCat(" (", Join(remarks_, "; "), ")");
  }

  std::vector<std::unique_ptr<File>> files_;
  std::map<std::string, Entry> devices_;
  std::vector<std::string> remarks_;
};

Status AddDevice(const Registry& registry, const std::string& name, CdiEdits& edits) {
  ASSIGN_OR_RETURN(Entry entry, registry.Find(name));
  if (!entry.file->is_used) {
    entry.file->is_used = true;
    RETURN_IF_ERROR(AddEdits(entry.file->json, edits), Printable(entry.file->path));
  }
  RETURN_IF_ERROR(AddEdits(*entry.device, edits), Printable(entry.file->path));
  return Ok();
}

}  // namespace

Result<CdiEdits> FindCdiDevices(const std::vector<std::string>& names,
                                const std::vector<std::string>& directories) {
  CdiEdits edits;
  if (names.empty()) return edits;
  if (names.size() > kMaxDevices) {
    return InvalidField("CDI_devices", StrCat("more than ", kMaxDevices));
  }
  Registry registry;
  RETURN_IF_ERROR(registry.Read(directories), "CDI_devices");
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string field = StrCat("CDI_devices[", i, "]");
    const size_t equals = names[i].find('=');
    if (equals == std::string::npos || !IsKind(std::string_view(names[i]).substr(0, equals)) ||
        !IsWord(std::string_view(names[i]).substr(equals + 1), "_-.:")) {
      return InvalidField(field,
                          StrCat("\"", Printable(names[i]), "\" is not vendor/class=device"));
    }
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<std::ptrdiff_t>(i)) {
      continue;  // asked for twice
    }
    RETURN_IF_ERROR(AddDevice(registry, names[i], edits), field, " \"", names[i], "\"");
  }
  return edits;
}

}  // namespace berth::runtime
