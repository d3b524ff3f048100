// Every configuration key, once: its name, where its value goes, and what it may be.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace berth::config {

using KeyTarget =
    std::variant<std::string*, std::vector<std::string>*, bool*, int*, int64_t*, uint64_t*>;

struct Key {
  std::string name;  // dotted: "cni.conf_dir"
  KeyTarget target;
  // For text and for each part of a list; may rewrite it into the usual form. None: any text.
  Status (*check)(std::string& text) = nullptr;
  int64_t min = 0, max = 0;  // for numbers
};

// The keys of everything but registries and runtime handlers. They point into `config`.
std::vector<Key> KeysOf(Config& config);
// The keys below [registry."host"].
std::vector<Key> KeysOf(Registry& registry);
Status CheckRegistryName(const std::string& host);
// The keys below [runtime_handlers.NAME].
std::vector<Key> KeysOf(RuntimeHandler& handler);
Status CheckHandlerName(const std::string& name);

// What does not fit together; the error begins with the key that is wrong.
struct Conflict {
  std::string key;
  std::string what;
};
std::vector<Conflict> FindConflicts(const Config& config);

// Puts a value of the key's own type there, checked. The error says what is wrong, without the
// name.
Status AssignText(const Key& key, std::string text);
Status AssignNumber(const Key& key, int64_t number);

}  // namespace berth::config
