// Pulling an image while somebody watches.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/client.h"

namespace berth::cli {

// Returns the reference of the image that was pulled. Meanwhile standard error shows how far each
// layer is, if the server knows berth.v1.
Result<std::string> Pull(Client& client, const rt::PullImageRequest& request);

}  // namespace berth::cli
