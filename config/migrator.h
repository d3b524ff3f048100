// What the migrations from containerd and from CRI-O share: tables of rules, one for each known
// key.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/migrate.h"

namespace berth::config {

// Makes a Migration, key by key.
class Migrator {
 public:
  // Puts a value into the result. What Berth does not take is noted as missing, with the reason.
  void Take(const ForeignKey& from, const std::string& key, const Json& value);
  // It is in the result in another way; `text` says how.
  void Taken(const ForeignKey& from, std::string text);
  void Missing(const ForeignKey& from, std::string_view why);
  void NotNeeded(const ForeignKey& from, std::string_view why);

  Migration& result() { return result_; }

 private:
  void Note(MigrationNote::Kind kind, const ForeignKey& from, std::string text);

  Migration result_;
};

struct Rule {
  // Parts with '/' between them; "*" is any one part, "**" at the end any number.
  std::string_view key;
  // What to do with the value. None: `why` says why there is no counterpart; if it begins with
  // '=', what follows says why none is needed.
  std::function<void(Migrator&, const ForeignKey&)> take = {};
  std::string_view why = {};
  // As JSON: with this value the key changes nothing. So do false, 0, "" and an empty list.
  std::string_view usual = {};
  // "Off" means something, too: `take` sees it.
  bool even_off = false;
};

bool Matches(std::string_view rule, const std::vector<std::string>& path);
// By the first rule that matches; a key without one is noted as unknown.
void ApplyRules(Migrator& migrator, const std::vector<Rule>& rules, const ForeignKey& key,
                const std::vector<std::string>& path);

// A rule's `take` for a key that has the same meaning and type here.
std::function<void(Migrator&, const ForeignKey&)> Same(std::string key);
// The same for a Go duration ("4h0m0s") and a key in units of `unit_ms`.
std::function<void(Migrator&, const ForeignKey&)> Duration(std::string key, int64_t unit_ms);
// The same for a number that may be written as text.
std::function<void(Migrator&, const ForeignKey&)> Number(std::string key);
// A level's name, of logrus.
void TakeLogLevel(Migrator& migrator, const ForeignKey& from);

// In milliseconds; nothing if it is no duration.
std::optional<int64_t> ParseGoDuration(std::string_view text);

}  // namespace berth::config
