// A layer's tar, made anew from its directory: for exports and pushes of layers whose blobs were
// not kept.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/context.h"
#include "base/result.h"
#include "snapshotter/snapshotter.h"

namespace berth::image {

using TarSink = std::function<Status(std::string_view bytes)>;

// The same directory makes the same bytes: entries by name, directories before what is in them,
// whiteouts as the image-spec has them (layer.md), hard links to the first of their names, owners,
// modes, modification times, and the extended attributes that unpacking keeps. It is rarely the tar
// that the layer came as. Walks by descriptors and follows no symlink.
Status WriteLayerTar(const Context& context, const snapshotter::LayerDirectory& layer,
                     const TarSink& sink);

}  // namespace berth::image
