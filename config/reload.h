// What a new configuration changes in a running daemon, and what has to wait for its restart.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace berth::config {

struct Change {
  std::string key;       // "image.pinned", "registry.registry.example:5000.ca_file"
  std::string before;    // as JSON; empty: was not there
  std::string after;     // likewise
  bool is_live = false;  // holds at once; others from the daemon's next start on
};

// Sorted by key.
std::vector<Change> Differences(const Config& before, const Config& after);

// What holds after a reload: `after`, but for the keys that need a restart as in `before`.
Config TakeLive(const Config& before, const Config& after);

}  // namespace berth::config
