// The extended attributes that a layer's files have from their image.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace berth::snapshotter {

using LayerXattrs = std::vector<std::pair<std::string, std::string>>;

// trusted.* and user.overlay.* would steer overlayfs, and security.* but capabilities belongs to
// the host's policy.
bool IsLayerXattr(std::string_view name);

// Those of an open file or directory, by name. None where the file system has no attributes.
Result<LayerXattrs> ReadLayerXattrs(int fd);

// Whether overlayfs shows nothing of the layers below in that directory. Only with CAP_SYS_ADMIN
// can one tell.
bool IsOpaque(int directory);

}  // namespace berth::snapshotter
