#include "cri/image_service.h"

#include <algorithm>

#include "base/json.h"
#include "base/time.h"
#include "cri/redact.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "cri/translate_request.h"
#include "image/reference.h"

namespace berth::cri {

namespace {

std::string InfoOf(const image::Image& image) {
  auto config = ParseJson(image.config_json);
  Json info = {{"pulledAt", image.pulled_at_ns}};
  info["imageSpec"] = config.ok() ? *config : Json(image.config_json);
  return ToText(info);
}

}  // namespace

ImageService::ImageService(ImageServiceOptions options, image::ImageStore& images,
                           image::Puller& puller, snapshotter::Snapshotter& snapshotter)
    : lifetime_(std::move(options.lifetime)),
      images_(images),
      puller_(puller),
      snapshotter_(snapshotter) {
  SetPinned(options.pinned);
}

void ImageService::SetPinned(const std::vector<std::string>& references) {
  std::set<std::string> pinned;
  for (const std::string& name : references) {
    auto reference = image::ParseReference(name);
    pinned.insert(reference.ok() ? reference->ToString() : name);
  }
  MutexLock lock(mutex_);
  pinned_.swap(pinned);
}

void ImageService::Describe(const image::Image& image, pb::Image* out) const {
  ToPb(image, out);
  MutexLock lock(mutex_);
  const std::set<std::string>& pinned = pinned_;
  auto is_pinned = [&](const std::string& name) { return pinned.count(name) > 0; };
  out->set_pinned(image.pinned || is_pinned(image.id) ||
                  std::any_of(image.repo_tags.begin(), image.repo_tags.end(), is_pinned) ||
                  std::any_of(image.repo_digests.begin(), image.repo_digests.end(), is_pinned));
}

grpc::Status ImageService::ListImages(grpc::ServerContext*, const pb::ListImagesRequest* request,
                                      pb::ListImagesResponse* response) {
  const std::string& only = request->filter().image().image();
  if (only.empty()) {
    for (const auto& image : images_.List()) Describe(*image, response->add_images());
  } else if (auto image = images_.Find(only)) {
    Describe(*image, response->add_images());
  }
  return grpc::Status::OK;
}

grpc::Status ImageService::ImageStatus(grpc::ServerContext*, const pb::ImageStatusRequest* request,
                                       pb::ImageStatusResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image().image(), "image.image"));
    auto image = images_.Find(reference);
    if (!image) return Ok();
    Describe(*image, response->mutable_image());
    if (request->verbose()) (*response->mutable_info())["info"] = InfoOf(*image);
    return Ok();
  });
}

grpc::Status ImageService::PullImage(grpc::ServerContext*, const pb::PullImageRequest* request,
                                     pb::PullImageResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image().image(), "image.image"));
    image::PullRequest pull;
    pull.reference = reference;
    pull.auth = AuthOf(request->auth());
    auto image = puller_.Pull(lifetime_, pull);
    if (!image.ok()) return Redact(std::move(image).error(), pull.auth);
    response->set_image_ref((*image)->id);
    return Ok();
  });
}

grpc::Status ImageService::RemoveImage(grpc::ServerContext*, const pb::RemoveImageRequest* request,
                                       pb::RemoveImageResponse*) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image().image(), "image.image"));
    return images_.Remove(reference);
  });
}

grpc::Status ImageService::ImageFsInfo(grpc::ServerContext*, const pb::ImageFsInfoRequest*,
                                       pb::ImageFsInfoResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto layers, snapshotter_.LayersUsage());
    ASSIGN_OR_RETURN(auto snapshots, snapshotter_.SnapshotsUsage());
    // On one file system, the usual case, kubelet has to see that they are.
    if (snapshotter_.root() == snapshotter_.containers_root()) {
      layers.bytes += snapshots.bytes;
      layers.inodes += snapshots.inodes;
      snapshots = layers;
    }
    const int64_t now = WallNs();
    ToPb(layers, snapshotter_.root(), now, response->add_image_filesystems());
    ToPb(snapshots, snapshotter_.containers_root(), now, response->add_container_filesystems());
    return Ok();
  });
}

}  // namespace berth::cri
