#include "config/foreign_toml.h"

#include <algorithm>

#include "base/file.h"
#include "config/toml.h"

namespace berth::config {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxDepth = 32;

bool IsTableList(const toml::node& node) {
  const toml::array* list = node.as_array();
  return list != nullptr && !list->empty() && list->get(0)->is_table();
}

Json ScalarOf(const toml::node& node) {
  if (node.is_string()) return node.as_string()->get();
  if (node.is_integer()) return node.as_integer()->get();
  if (node.is_floating_point()) return node.as_floating_point()->get();
  if (node.is_boolean()) return node.as_boolean()->get();
  return "(a date)";  // none of these programs has a key for one
}

Json ValueOf(const toml::node& node, size_t depth) {
  Json json;
  if (depth > kMaxDepth) return "(nested too deeply)";
  if (const toml::array* list = node.as_array()) {
    json = Json::array();
    for (const toml::node& part : *list) json.push_back(ValueOf(part, depth + 1));
  } else if (const toml::table* table = node.as_table()) {
    json = Json::object();
    for (const auto& [key, value] : *table)
      json[std::string(key.str())] = ValueOf(value, depth + 1);
  } else {
    json = ScalarOf(node);
  }
  return json;
}

// Walks one file.
class Flattener {
 public:
  Flattener(const std::string& file, std::vector<ForeignKey>& keys) : file_(file), keys_(keys) {}

  void Table(const toml::table& table) {
    for (const auto& [key, node] : table) Node(std::string(key.str()), node);
  }

 private:
  void Node(std::string name, const toml::node& node) {
    path_.push_back(std::move(name));
    if (node.is_table() && path_.size() < kMaxDepth) {
      Table(*node.as_table());
    } else if (IsTableList(node) && path_.size() < kMaxDepth) {
      size_t index = 0;
      for (const toml::node& part : *node.as_array()) Node(StrCat(index++), part);
    } else {
      keys_.push_back({file_, static_cast<int64_t>(node.source().begin.line), path_,
                       ValueOf(node, path_.size())});
    }
    path_.pop_back();
  }

  const std::string& file_;
  std::vector<ForeignKey>& keys_;
  std::vector<std::string> path_;
};

bool IsBareKey(const std::string& part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return isalnum(c) != 0 || c == '_' || c == '-';
  });
}

}  // namespace

bool IsEmptyText(const Json& value) {
  return value.is_string() && value.get_ref<const std::string&>().empty();
}

std::string ForeignKey::Name() const {
  std::vector<std::string> parts;
  for (const std::string& part : path) {
    parts.push_back(IsBareKey(part) ? part : StrCat("\"", Printable(part), "\""));
  }
  return Join(parts, ".");
}

std::string ForeignKey::ValueText() const {
  return Printable(ToText(value), 120);
}

Result<std::vector<ForeignKey>> ReadForeignToml(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxFileBytes));
  toml::parse_result parsed = toml::parse(text, file);
  if (!parsed) {
    return Error(Code::kInvalidArgument, StrCat(file, ":", parsed.error().source().begin.line, ": ",
                                                parsed.error().description()));
  }
  std::vector<ForeignKey> keys;
  Flattener(file, keys).Table(parsed.table());
  std::stable_sort(keys.begin(), keys.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  return keys;
}

void MergeForeign(std::vector<ForeignKey>& keys, std::vector<ForeignKey> more) {
  for (ForeignKey& key : more) {
    auto same = std::find_if(keys.begin(), keys.end(),
                             [&](const ForeignKey& other) { return other.path == key.path; });
    if (same == keys.end()) {
      keys.push_back(std::move(key));
    } else {
      *same = std::move(key);
    }
  }
}

}  // namespace berth::config
