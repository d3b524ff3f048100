// What a migration found, as files.
#include <algorithm>

#include "base/strings.h"
#include "config/keys.h"
#include "config/migrate.h"

namespace berth::config {

namespace {

// JSON's text and lists of texts are TOML's, too.
Json ValueOf(const Key& key) {
  return std::visit([](const auto* target) { return Json(*target); }, key.target);
}

std::string Quoted(const std::string& text) {
  return ToText(Json(text));
}

std::string OriginOf(const Migration& migration, const std::string& key) {
  for (const MigrationNote& note : migration.notes) {
    if (note.kind == MigrationNote::Kind::kTaken && note.text.starts_with(key)) {
      return StrCat("# ", note.place, ": ", note.key, "\n");
    }
  }
  return "";
}

// The keys of everything but registries and handlers: those without a section first.
std::string PlainKeys(const Migration& migration, Config& taken) {
  Config usual;  // KeysOf hands out pointers for writing
  const std::vector<Key> before = KeysOf(usual), after = KeysOf(taken);
  std::string top, sections, section;
  for (size_t i = 0; i < after.size(); ++i) {
    const Json value = ValueOf(after[i]);
    if (value == ValueOf(before[i])) continue;
    const size_t dot = after[i].name.find('.');
    const bool is_top = dot == std::string::npos;
    std::string& out = is_top ? top : sections;
    if (!is_top && section != after[i].name.substr(0, dot)) {
      section = after[i].name.substr(0, dot);
      out += StrCat("\n[", section, "]\n");
    }
    out += OriginOf(migration, after[i].name);
    out += StrCat(after[i].name.substr(is_top ? 0 : dot + 1), " = ", ToText(value), "\n");
  }
  return top + sections;
}

// One table of a name: "[kind."name"]"; `origin` is how its keys are called in notes.
std::string NamedTable(const Migration& migration, const std::string& title,
                       const std::string& origin, const std::vector<Key>& keys) {
  std::string table;
  for (const Key& key : keys) {
    const Json value = ValueOf(key);
    const bool is_empty = value == false || IsEmptyText(value) || value == Json::array();
    if (!is_empty) table += StrCat(key.name, " = ", ToText(value), "\n");
  }
  if (table.empty()) return "";
  return StrCat("\n", OriginOf(migration, origin), "[", title, "]\n", table);
}

}  // namespace

std::string ToToml(const Migration& migration) {
  Config taken = migration.config;
  std::string out =
      "# Berth's configuration: what differs from the defaults (berthd config default).\n";
  out += PlainKeys(migration, taken);
  for (auto& [name, registry] : taken.image.registries) {
    const std::string title = StrCat("registry.", Quoted(name));
    out += NamedTable(migration, title, title + ".", KeysOf(registry));
  }
  for (auto& [name, handler] : taken.runtime_handlers) {
    out += NamedTable(migration, StrCat("runtime_handlers.", Quoted(name)),
                      "runtime_handlers." + name, KeysOf(handler));
  }
  return out;
}

}  // namespace berth::config
