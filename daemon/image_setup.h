// What the configuration means for programs and pulls: for the daemon and for `berthd preload`.
#pragma once

#include <string>

#include "base/result.h"
#include "config/config.h"
#include "image/puller.h"

namespace berth::daemon {

// The configured path of a helper binary, or the one beside this program, or the installed one.
// `key` is what the configuration calls it.
Result<std::string> FindHelper(const std::string& configured, const std::string& name,
                               const std::string& key);

image::PullCgroupOptions PullCgroupOptionsOf(const config::Config::Image& config);
image::PullerOptions PullerOptionsOf(const config::Config::Image& config);

}  // namespace berth::daemon
