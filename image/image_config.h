// The OCI image configuration (image-spec config.md), checked.
#pragma once

#include <string_view>

#include "base/result.h"
#include "image/image.h"

namespace berth::image {

// DataLoss, naming the field: not a configuration, a NUL byte or a wrong type in a field, a diffID
// that is no digest, too many layers. Environment entries without a name and a '=' are dropped:
// they must never make anyone ask the daemon's own environment (CVE-2026-57231).
Result<ImageConfig> ParseImageConfig(std::string_view bytes);

// NotFound if the image is for other machines than this; DataLoss if its manifest, which has
// `layers` layers, is of another image.
Status CheckForHost(const ImageConfig& config, size_t layers);

}  // namespace berth::image
