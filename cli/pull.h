// Pulling an image while somebody watches.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/client.h"

namespace berth::cli {

// Returns the reference of the image that was pulled. If standard error is a terminal, the time and
// the bytes by which the image store has grown are shown there meanwhile: CRI tells no more.
Result<std::string> Pull(Client& client, const rt::PullImageRequest& request);

}  // namespace berth::cli
