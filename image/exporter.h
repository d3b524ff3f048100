// From images in the store to what others can take: blobs of a registry, or an archive.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/image_store.h"
#include "image/layer_tar.h"
#include "snapshotter/snapshotter.h"

namespace berth::image {

// A layer as it will be sent: as it came, if its blob was kept; else its tar, made anew, plain or
// by gzip, of which making it once more makes the same bytes.
struct OutgoingLayer {
  std::string stored_diff_id;  // of the layer in the store
  std::string diff_id;         // of the tar that is sent
  std::string digest;          // of the blob
  uint64_t size_bytes = 0;     // of the blob
  bool kept = false;           // it is sent as it came
};

struct OutgoingImage {
  std::shared_ptr<const Image> image;
  std::vector<OutgoingLayer> layers;
  std::string config;  // as stored, if the tars are those of the diffIDs that it names
  std::string config_digest;
  std::string manifest;
  std::string manifest_digest;

  bool Changed() const { return config_digest != image->id; }
  // A sentence for people; empty if it has not changed.
  std::string Warning() const;
};

enum class BlobFormat { kTar, kGzip };

// Thread-safe. All it was given must outlive it; the caller holds the images' layers.
class Exporter {
 public:
  Exporter(snapshotter::Snapshotter& snapshotter, ImageStore& store)
      : snapshotter_(snapshotter), store_(store) {}

  // Reads every layer once, to know its digest.
  Result<OutgoingImage> Prepare(const Context& context, std::shared_ptr<const Image> image,
                                BlobFormat format);
  // The blob of a layer of Prepare(). DataLoss if it has become another.
  Status WriteLayer(const Context& context, const OutgoingLayer& layer, BlobFormat format,
                    const TarSink& sink);

  struct Report {
    std::vector<std::string> warnings;  // sentences for people
  };
  // A tar: an OCI layout (image-spec image-layout.md) with a manifest.json, so that `docker load`
  // takes it, too. A tag exports the image under that name; an id or a digest with all its tags.
  // NotFound names the reference.
  Result<Report> Export(const Context& context, const std::vector<std::string>& references,
                        const TarSink& sink);

 private:
  snapshotter::Snapshotter& snapshotter_;
  ImageStore& store_;
};

}  // namespace berth::image
