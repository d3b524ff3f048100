// From an image in the store to a registry.
#pragma once

#include <string>

#include "base/context.h"
#include "base/result.h"
#include "image/exporter.h"
#include "image/image_store.h"
#include "image/progress.h"
#include "image/puller.h"

namespace berth::image {

struct PushRequest {
  std::string image;        // a name or an id
  std::string destination;  // empty: `image`, which has to be a name then
  RegistryAuth auth;
  ProgressCallback progress;  // may be empty
};

struct PushResult {
  std::string digest;    // of the manifest
  std::string image_id;  // that the image has there
  std::string warning;   // if that is another: a sentence for people
};

// Thread-safe. All it was given must outlive it.
class Pusher {
 public:
  Pusher(const PullerOptions& options, Exporter& exporter, ImageStore& store);

  // Layers go one after another, compressed by gzip, those that the registry has already not at
  // all; the manifest goes last, so that the name is the old image's or a whole one's. Errors:
  // InvalidArgument (the destination), NotFound (no such image), and the registry's.
  Result<PushResult> Push(const Context& context, const PushRequest& request);

 private:
  const RegistryOptions registry_;
  HttpClient http_;
  Authorizer authorizer_;
  Exporter& exporter_;
  ImageStore& store_;
};

}  // namespace berth::image
