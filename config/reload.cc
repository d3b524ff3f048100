#include "config/reload.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "base/json.h"
#include "config/keys.h"

namespace berth::config {

namespace {

// Read from the LiveConfig at each use, or handed on by Daemon::Reload. All others are built into
// sockets, locks, directories and threads that the daemon makes at its start.
constexpr std::array<std::string_view, 11> kLiveKeys = {
    "log_level",
    "cni.bin_dirs",
    "cni.conf_dir",
    "cni.conf_template",
    "image.pinned",
    "runtime.cdi_dirs",
    "runtime.cni_timeout_ms",
    "runtime.max_log_line_bytes",
    "runtime.rlimit_nofile_hard",
    "runtime.rlimit_nofile_soft",
    "runtime_handlers",
};

bool IsLive(std::string_view key) {
  return std::any_of(kLiveKeys.begin(), kLiveKeys.end(), [&](std::string_view live) {
    return key.substr(0, live.size()) == live &&
           (key.size() == live.size() || (live == "runtime_handlers" && key[live.size()] == '.'));
  });
}

void Flatten(const Json& node, const std::string& name, std::map<std::string, std::string>& out) {
  if (!node.is_object()) {
    out[name] = ToText(node);
    return;
  }
  for (const auto& [key, value] : node.items()) {
    Flatten(value, name.empty() ? key : StrCat(name, ".", key), out);
  }
}

std::map<std::string, std::string> Values(const Config& config) {
  std::map<std::string, std::string> values;
  auto json = ParseJson(ToJson(config));
  if (json.ok()) Flatten(*json, "", values);
  return values;
}

}  // namespace

std::vector<Change> Differences(const Config& before, const Config& after) {
  const auto old_values = Values(before), new_values = Values(after);
  std::map<std::string, Change> changes;
  for (const auto& [key, value] : old_values) changes[key] = {key, value, "", IsLive(key)};
  for (const auto& [key, value] : new_values) {
    Change& change = changes[key];
    change.key = key;
    change.after = value;
    change.is_live = IsLive(key);
  }
  std::vector<Change> different;
  for (auto& [key, change] : changes) {
    if (change.before != change.after) different.push_back(std::move(change));
  }
  return different;
}

Config TakeLive(const Config& before, const Config& after) {
  Config taken = before;
  Config source = after;  // KeysOf hands out pointers for writing
  const std::vector<Key> from = KeysOf(source), to = KeysOf(taken);
  for (size_t i = 0; i < to.size(); ++i) {
    if (!IsLive(to[i].name)) continue;
    std::visit([&](auto* target) { *target = *std::get<decltype(target)>(from[i].target); },
               to[i].target);
  }
  taken.runtime_handlers = after.runtime_handlers;
  return taken;
}

}  // namespace berth::config
