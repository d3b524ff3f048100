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

}  // namespace

std::string ToToml(const Migration& migration) {
  Config usual, taken = migration.config;  // KeysOf hands out pointers for writing
  const std::vector<Key> before = KeysOf(usual), after = KeysOf(taken);
  std::string top, sections, section;
  for (size_t i = 0; i < after.size(); ++i) {
    const Json value = ValueOf(after[i]);
    if (value == ValueOf(before[i])) continue;
    const size_t dot = after[i].name.find('.');
    std::string& out = dot == std::string::npos ? top : sections;
    if (dot != std::string::npos && section != after[i].name.substr(0, dot)) {
      section = after[i].name.substr(0, dot);
      out += StrCat("\n[", section, "]\n");
    }
    out += OriginOf(migration, after[i].name);
    out += StrCat(after[i].name.substr(dot == std::string::npos ? 0 : dot + 1), " = ",
                  ToText(value), "\n");
  }
  for (auto& [name, registry] : taken.image.registries) {
    std::string table;
    for (const Key& key : KeysOf(registry)) {
      const Json value = ValueOf(key);
      if (value != false && value != "") table += StrCat(key.name, " = ", ToText(value), "\n");
    }
    if (!table.empty()) {
      sections += StrCat("\n", OriginOf(migration, StrCat("registry.", Quoted(name), ".")),
                         "[registry.", Quoted(name), "]\n", table);
    }
  }
  for (auto& [name, handler] : taken.runtime_handlers) {
    sections += StrCat("\n", OriginOf(migration, "runtime_handlers." + name), "[runtime_handlers.",
                       Quoted(name), "]\n");
    for (const Key& key : KeysOf(handler)) {
      const Json value = ValueOf(key);
      if (key.name == "type" || !value.empty()) {
        if (value != "") sections += StrCat(key.name, " = ", ToText(value), "\n");
      }
    }
  }
  return StrCat(
      "# Berth's configuration: what differs from the defaults (berthd config default).\n", top,
      sections);
}

}  // namespace berth::config
