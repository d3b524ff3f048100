#include "cri/image_service.h"

#include "base/json.h"
#include "base/time.h"
#include "cri/redact.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "cri/translate_request.h"

namespace berth::cri {

namespace {

Result<std::string> ReferenceOf(const pb::ImageSpec& spec) {
  // Far more than a domain, a repository, a tag and a digest can be together.
  constexpr size_t kMaxReferenceBytes = 1024;
  if (spec.image().empty()) return Error(Code::kInvalidArgument, "image.image: missing");
  if (spec.image().size() > kMaxReferenceBytes) {
    return Error(Code::kInvalidArgument, StrCat("image.image: ", spec.image().size(),
                                                " bytes are too long for a reference"));
  }
  return spec.image();
}

std::string InfoOf(const image::Image& image) {
  auto config = ParseJson(image.config_json);
  Json info = {{"pulledAt", image.pulled_at_ns}};
  info["imageSpec"] = config.ok() ? *config : Json(image.config_json);
  return ToText(info);
}

}  // namespace

ImageService::ImageService(Context lifetime, image::ImageStore& images, image::Puller& puller,
                           snapshotter::Snapshotter& snapshotter)
    : lifetime_(std::move(lifetime)), images_(images), puller_(puller), snapshotter_(snapshotter) {}

grpc::Status ImageService::ListImages(grpc::ServerContext*, const pb::ListImagesRequest* request,
                                      pb::ListImagesResponse* response) {
  const std::string& only = request->filter().image().image();
  if (only.empty()) {
    for (const auto& image : images_.List()) ToPb(*image, response->add_images());
  } else if (auto image = images_.Find(only)) {
    ToPb(*image, response->add_images());
  }
  return grpc::Status::OK;
}

grpc::Status ImageService::ImageStatus(grpc::ServerContext*, const pb::ImageStatusRequest* request,
                                       pb::ImageStatusResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image()));
    auto image = images_.Find(reference);
    if (!image) return Ok();
    ToPb(*image, response->mutable_image());
    if (request->verbose()) (*response->mutable_info())["info"] = InfoOf(*image);
    return Ok();
  });
}

grpc::Status ImageService::PullImage(grpc::ServerContext*, const pb::PullImageRequest* request,
                                     pb::PullImageResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image()));
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
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image()));
    return images_.Remove(reference);
  });
}

grpc::Status ImageService::ImageFsInfo(grpc::ServerContext*, const pb::ImageFsInfoRequest*,
                                       pb::ImageFsInfoResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto usage, snapshotter_.TotalUsage());
    // Layers and writable layers are on one file system, and kubelet has to see that they are.
    int64_t now = WallNs();
    ToPb(usage, snapshotter_.root(), now, response->add_image_filesystems());
    ToPb(usage, snapshotter_.root(), now, response->add_container_filesystems());
    return Ok();
  });
}

}  // namespace berth::cri
