// What is in an archive of images: an OCI image layout (image-spec image-layout.md), or what
// `docker save` writes (manifest.json; since Docker 25 it is both).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/archive/archive_source.h"
#include "image/image.h"
#include "image/layer_fetcher.h"

namespace berth::image {

struct ArchivedImage {
  Image image;  // without size_bytes and pulled_at_ns
  std::vector<LayerFetcher::Layer> layers;
};

struct ArchiveContent {
  std::vector<ArchivedImage> images;
  std::map<std::string, size_t> layer_members;  // by diffID
};

// Reads the documents of the archive, with the caps that those of registries have, and checks
// their digests; layers are checked when they are unpacked. Of an index of platforms the image for
// this machine is taken. `base_name` is the repository of images that are named by a tag only; if
// it is empty they stay without a name.
//
// InvalidArgument: base_name. NotFound: nothing for this machine, or no image at all. DataLoss,
// naming the member: malformed, missing, a wrong digest or size.
Result<ArchiveContent> ReadArchive(const Context& context, ArchiveSource& source,
                                   const std::string& base_name);

}  // namespace berth::image
