#include "config/config.h"

#include <fcntl.h>

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "config/keys.h"
#include "config/toml.h"

namespace berth::config {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr std::string_view kRegistryTable = "registry";
constexpr std::string_view kHandlerTable = "runtime_handlers";

const Key* FindKey(const std::vector<Key>& keys, std::string_view name) {
  auto at =
      std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.name == name; });
  return at == keys.end() ? nullptr : &*at;
}

bool IsSection(const std::vector<Key>& keys, std::string_view name) {
  return std::any_of(keys.begin(), keys.end(), [&](const Key& key) {
    return key.name.size() > name.size() && key.name.compare(0, name.size(), name) == 0 &&
           key.name[name.size()] == '.';
  });
}

std::string_view TypeName(const KeyTarget& target) {
  if (std::holds_alternative<std::string*>(target)) return "text";
  if (std::holds_alternative<std::vector<std::string>*>(target)) return "a list of texts";
  if (std::holds_alternative<bool*>(target)) return "true or false";
  return "a whole number";
}

// Reads files one after another into one Config.
class Loader {
 public:
  explicit Loader(Config& config) : config_(config), keys_(KeysOf(config)) {}

  Status ReadText(const std::string& file, const std::string& text) {
    file_ = file;
    toml::parse_result parsed = toml::parse(text, file);
    if (!parsed) {
      return Error(Code::kInvalidArgument, StrCat(file, ":", parsed.error().source().begin.line,
                                                  ": ", parsed.error().description()));
    }
    return ReadTable(parsed.table(), "");
  }

  // What no single line is to blame for.
  Status CheckWhole() const {
    for (const Conflict& conflict : FindConflicts(config_)) {
      auto origin = origins_.find(conflict.key);
      std::string where = origin == origins_.end() ? "" : StrCat(origin->second, ": ");
      return Error(Code::kInvalidArgument, StrCat(where, conflict.key, ": ", conflict.what));
    }
    return Ok();
  }

 private:
  Error Fail(const toml::node& node, std::string_view name, std::string_view what) const {
    return {Code::kInvalidArgument, StrCat(Place(node), ": ", Printable(name), ": ", what)};
  }
  std::string Place(const toml::node& node) const {
    return StrCat(file_, ":", node.source().begin.line);
  }

  Status ReadTable(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      std::string name = StrCat(prefix, key.str());
      if (const Key* known = FindKey(keys_, name)) {
        RETURN_IF_ERROR(ReadValue(*known, name, node));
      } else if (name == kRegistryTable || name == kHandlerTable || IsSection(keys_, name)) {
        if (!node.is_table()) return Fail(node, name, "is not a [section]");
        RETURN_IF_ERROR(ReadSection(name, *node.as_table()));
      } else {
        return Fail(node, name, "unknown key");
      }
    }
    return Ok();
  }

  Status ReadSection(const std::string& name, const toml::table& table) {
    if (name == kRegistryTable) {
      return ReadNamed(table, kRegistryTable, config_.image.registries, CheckRegistryName);
    }
    if (name == kHandlerTable) {
      return ReadNamed(table, kHandlerTable, config_.runtime_handlers, CheckHandlerName);
    }
    return ReadTable(table, StrCat(name, "."));
  }

  // Tables of one kind, each with a name of the administrator's choice: [kind.name].
  template <typename Item>
  Status ReadNamed(const toml::table& table, std::string_view kind,
                   std::map<std::string, Item>& items, Status (*check)(const std::string&)) {
    for (const auto& [item, node] : table) {
      std::string name = StrCat(kind, ".", item.str());
      Status valid = check(std::string(item.str()));
      if (!valid.ok()) return Fail(node, name, valid.error().message());
      if (!node.is_table()) return Fail(node, name, "is not a [section]");
      std::vector<Key> keys = KeysOf(items[std::string(item.str())]);
      for (const auto& [key, value] : *node.as_table()) {
        std::string full = StrCat(name, ".", key.str());
        const Key* known = FindKey(keys, key.str());
        if (known == nullptr) return Fail(value, full, "unknown key");
        RETURN_IF_ERROR(ReadValue(*known, full, value));
      }
    }
    return Ok();
  }

  Status ReadValue(const Key& key, const std::string& name, const toml::node& node) {
    Status assigned = Assign(key, node);
    if (!assigned.ok()) return Fail(node, name, assigned.error().message());
    origins_[name] = Place(node);
    return Ok();
  }

  static Status Assign(const Key& key, const toml::node& node) {
    Error wrong_type(Code::kInvalidArgument, StrCat("must be ", TypeName(key.target)));
    if (auto* flag = std::get_if<bool*>(&key.target)) {
      if (!node.is_boolean()) return wrong_type;
      **flag = node.as_boolean()->get();
      return Ok();
    }
    if (auto* list = std::get_if<std::vector<std::string>*>(&key.target)) {
      if (!node.is_array()) return wrong_type;
      (*list)->clear();
      for (const toml::node& part : *node.as_array()) {
        if (!part.is_string()) return wrong_type;
        RETURN_IF_ERROR(AssignText(key, part.as_string()->get()));
      }
      return Ok();
    }
    if (std::holds_alternative<std::string*>(key.target)) {
      return node.is_string() ? AssignText(key, node.as_string()->get()) : wrong_type;
    }
    return node.is_integer() ? AssignNumber(key, node.as_integer()->get()) : wrong_type;
  }

  Config& config_;
  std::vector<Key> keys_;
  std::string file_;
  std::map<std::string, std::string> origins_;  // key to "file:line"
};

bool IsDropIn(const std::string& name) {
  constexpr std::string_view kSuffix = ".toml";
  return name.size() > kSuffix.size() && name[0] != '.' &&
         name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0;
}

// The drop-ins beside the file, sorted; empty if there is no conf.d.
Result<std::vector<std::string>> DropInsOf(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string directory =
      StrCat(slash == std::string::npos ? "." : path.substr(0, slash), "/conf.d");
  std::vector<std::string> files;
  auto dir = Open(directory, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) {
    if (dir.code() == Code::kNotFound) return files;
    return std::move(dir).error();
  }
  RETURN_IF_ERROR(ForEachEntry(dir->get(),
                               [&](const std::string& name) {
                                 if (IsDropIn(name)) files.push_back(StrCat(directory, "/", name));
                                 return Ok();
                               }),
                  "read ", directory);
  std::sort(files.begin(), files.end());
  return files;
}

Json ValueOf(const Key& key) {
  return std::visit([](const auto* target) { return Json(*target); }, key.target);
}

}  // namespace

Result<Config> Load(const std::string& path, bool required) {
  Config config;
  Loader loader(config);
  auto text = ReadFile(path, kMaxFileBytes);
  if (text.ok()) {
    RETURN_IF_ERROR(loader.ReadText(path, *text));
  } else if (required || text.code() != Code::kNotFound) {
    return std::move(text).error().Wrap("configuration");
  }
  ASSIGN_OR_RETURN(auto drop_ins, DropInsOf(path), "configuration");
  for (const std::string& file : drop_ins) {
    ASSIGN_OR_RETURN(auto more, ReadFile(file, kMaxFileBytes), "configuration");
    RETURN_IF_ERROR(loader.ReadText(file, more));
  }
  RETURN_IF_ERROR(loader.CheckWhole());
  return config;
}

Status Set(Config& config, const std::string& key, const std::string& value) {
  std::vector<Key> keys = KeysOf(config);
  const Key* known = FindKey(keys, key);
  if (known == nullptr) return Error(Code::kInvalidArgument, StrCat(key, ": unknown key"));
  if (std::holds_alternative<std::string*>(known->target)) {
    RETURN_IF_ERROR(AssignText(*known, value), key);
    return Ok();
  }
  auto number = ParseNumber<int64_t>(value);
  if (!number) return Error(Code::kInvalidArgument, StrCat(key, ": must be a whole number"));
  RETURN_IF_ERROR(AssignNumber(*known, *number), key);
  return Ok();
}

std::string ToJson(const Config& config) {
  Config copy = config;  // KeysOf hands out pointers for writing
  Json json = Json::object();
  for (const Key& key : KeysOf(copy)) {
    size_t dot = key.name.find('.');
    Json& section = dot == std::string::npos ? json : json[key.name.substr(0, dot)];
    section[dot == std::string::npos ? key.name : key.name.substr(dot + 1)] = ValueOf(key);
  }
  Json& registries = json["registry"] = Json::object();
  for (auto& [host, registry] : copy.image.registries) {
    for (const Key& key : KeysOf(registry)) registries[host][key.name] = ValueOf(key);
  }
  Json& handlers = json["runtime_handlers"] = Json::object();
  for (auto& [name, handler] : copy.runtime_handlers) {
    for (const Key& key : KeysOf(handler)) handlers[name][key.name] = ValueOf(key);
  }
  return ToText(json);
}

}  // namespace berth::config
