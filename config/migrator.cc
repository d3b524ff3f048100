#include "config/migrator.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/strings.h"
#include "config/keys.h"

namespace berth::config {

namespace {

Status AssignJson(const Key& key, const Json& value) {
  if (auto* list = std::get_if<std::vector<std::string>*>(&key.target)) {
    if (!value.is_array()) return Error(Code::kInvalidArgument, "is not a list");
    const std::vector<std::string> former = std::exchange(**list, {});
    for (const Json& part : value) {
      Status assigned = part.is_string() ? AssignText(key, part.get<std::string>())
                                         : Error(Code::kInvalidArgument, "is not a list of texts");
      if (assigned.ok()) continue;
      **list = former;
      return assigned;
    }
    return Ok();
  }
  if (value.is_string()) return AssignText(key, value.get<std::string>());
  if (value.is_number_integer()) return AssignNumber(key, value.get<int64_t>());
  return Error(Code::kInvalidArgument, "is of another type here");
}

bool IsNothing(const Json& value) {
  return value == false || value == 0 || IsEmptyText(value) ||
         (value.is_array() && value.empty()) || (value.is_object() && value.empty());
}

}  // namespace

void Migrator::Note(MigrationNote::Kind kind, const ForeignKey& from, std::string text) {
  result_.notes.push_back({kind, from.Place(), from.Name(), std::move(text)});
}

void Migrator::Take(const ForeignKey& from, const std::string& key, const Json& value) {
  for (const Key& known : KeysOf(result_.config)) {
    if (known.name != key) continue;
    Status assigned = AssignJson(known, value);
    if (assigned.ok()) return Taken(from, key);
    return Missing(from, StrCat(key, " cannot be that: ", assigned.error().message()));
  }
  Missing(from, StrCat(key, " is not a key of this version"));
}

void Migrator::Taken(const ForeignKey& from, std::string text) {
  Note(MigrationNote::Kind::kTaken, from, std::move(text));
}
void Migrator::Missing(const ForeignKey& from, std::string_view why) {
  Note(MigrationNote::Kind::kMissing, from, std::string(why));
}
void Migrator::NotNeeded(const ForeignKey& from, std::string_view why) {
  Note(MigrationNote::Kind::kNotNeeded, from, std::string(why));
}

bool Matches(std::string_view rule, const std::vector<std::string>& path) {
  const std::vector<std::string_view> parts = Split(rule, '/');
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] == "**") return true;
    if (i >= path.size() || (parts[i] != "*" && parts[i] != path[i])) return false;
  }
  return parts.size() == path.size();
}

void ApplyRules(Migrator& migrator, const std::vector<Rule>& rules, const ForeignKey& key,
                const std::vector<std::string>& path) {
  auto rule = std::find_if(rules.begin(), rules.end(),
                           [&](const Rule& one) { return Matches(one.key, path); });
  const bool known = rule != rules.end();
  if (known && !rule->usual.empty() && ToText(key.value) == rule->usual) {
    return migrator.NotNeeded(key, "as usual");
  }
  if (IsNothing(key.value) && !(known && rule->even_off))
    return migrator.NotNeeded(key, "empty or off");
  if (!known) return migrator.Missing(key, "not known to this version of berth");
  if (rule->take) return rule->take(migrator, key);
  if (rule->why.substr(0, 1) == "=") return migrator.NotNeeded(key, rule->why.substr(1));
  migrator.Missing(key, rule->why);
}

std::function<void(Migrator&, const ForeignKey&)> Same(std::string key) {
  return [key = std::move(key)](Migrator& migrator, const ForeignKey& from) {
    migrator.Take(from, key, from.value);
  };
}

std::function<void(Migrator&, const ForeignKey&)> Number(std::string key) {
  return [key = std::move(key)](Migrator& migrator, const ForeignKey& from) {
    if (!from.value.is_string()) return migrator.Take(from, key, from.value);
    auto number = ParseNumber<int64_t>(from.value.get<std::string>());
    if (number) return migrator.Take(from, key, *number);
    migrator.Missing(from, StrCat(from.ValueText(), " is not a number"));
  };
}

std::function<void(Migrator&, const ForeignKey&)> Duration(std::string key, int64_t unit_ms) {
  return [key = std::move(key), unit_ms](Migrator& migrator, const ForeignKey& from) {
    auto ms = from.value.is_string() ? ParseGoDuration(from.value.get<std::string>())
                                     : std::optional<int64_t>();
    if (!ms) return migrator.Missing(from, StrCat(from.ValueText(), " is not a duration"));
    migrator.Take(from, key, *ms / unit_ms);
  };
}

void TakeLogLevel(Migrator& migrator, const ForeignKey& from) {
  const std::string level = from.value.is_string() ? ToLower(from.value.get<std::string>()) : "";
  if (level == "trace" || level == "debug" || level == "info") {
    migrator.Take(from, "log_level", 0);
  } else if (level == "warn" || level == "warning") {
    migrator.Take(from, "log_level", 1);
  } else if (level == "error" || level == "fatal" || level == "panic") {
    migrator.Take(from, "log_level", 2);
  } else {
    migrator.Missing(from, StrCat(from.ValueText(), " is not a level that berth knows"));
  }
}

std::optional<int64_t> ParseGoDuration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double ms;
  };
  constexpr std::array<Unit, 7> kUnits = {{{"ns", 1e-6},
                                           {"us", 1e-3},
                                           {"µs", 1e-3},
                                           {"ms", 1},
                                           {"s", 1e3},
                                           {"m", 60e3},
                                           {"h", 3600e3}}};
  if (text == "0") return 0;
  double total_ms = 0;
  bool any = false;
  while (!text.empty()) {
    const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    if (digits == 0 || digits > 12) return std::nullopt;
    const double number = strtod(std::string(text.substr(0, digits)).c_str(), nullptr);
    text.remove_prefix(digits);
    const size_t letters = std::min(text.find_first_of("0123456789."), text.size());
    auto unit = std::find_if(kUnits.begin(), kUnits.end(),
                             [&](const Unit& one) { return one.name == text.substr(0, letters); });
    if (unit == kUnits.end()) return std::nullopt;
    text.remove_prefix(letters);
    total_ms += number * unit->ms;
    any = true;
  }
  if (!any || total_ms > 1e15) return std::nullopt;
  return static_cast<int64_t>(total_ms);
}

}  // namespace berth::config
