// berthd preload: fills a store without a daemon, for those who build images of nodes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace berth::daemon {

struct PreloadRequest {
  std::vector<std::string> references;  // pulled from registries
  std::vector<std::string> archives;    // files and directories, or "-"; imported before them
  std::string base_name;                // see image::ReadArchive()
  int64_t time_ns = 0;                  // what the images tell as the time of their pull
};

// Into `config.root`, which no daemon may use meanwhile (FailedPrecondition). Returns the ids and
// names of the images, a line for each, once everything is on the disk. After a failure the store
// is whole, without the image that failed.
//
// The same images in the same order into an empty root make the same content: docs/IMAGES.md.
Result<std::string> Preload(const config::Config& config, const PreloadRequest& request);

}  // namespace berth::daemon
