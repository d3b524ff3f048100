// CRI's ImageService: which images there are, pulling, removing, and the disk they take.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/sync.h"
#include "cri/pb.h"
#include "cri/proto/api.grpc.pb.h"
#include "image/image_store.h"
#include "image/puller.h"
#include "snapshotter/snapshotter.h"

namespace berth::cri {

struct ImageServiceOptions {
  std::vector<std::string> pinned;  // references of images that are reported as pinned
  // Ends when the daemon stops, and pulls with it. The client's going does not end them: its retry
  // joins them.
  Context lifetime = Context::Background();
};

// Thread-safe. All arguments must outlive it.
class ImageService final : public pb::ImageService::Service {
 public:
  ImageService(ImageServiceOptions options, image::ImageStore& images, image::Puller& puller,
               snapshotter::Snapshotter& snapshotter);

  grpc::Status ListImages(grpc::ServerContext* call, const pb::ListImagesRequest* request,
                          pb::ListImagesResponse* response) override;
  void SetPinned(const std::vector<std::string>& references) EXCLUDES(mutex_);

  // A missing image is an answer without an image, not an error.
  grpc::Status ImageStatus(grpc::ServerContext* call, const pb::ImageStatusRequest* request,
                           pb::ImageStatusResponse* response) override;
  grpc::Status PullImage(grpc::ServerContext* call, const pb::PullImageRequest* request,
                         pb::PullImageResponse* response) override;
  grpc::Status RemoveImage(grpc::ServerContext* call, const pb::RemoveImageRequest* request,
                           pb::RemoveImageResponse* response) override;
  grpc::Status ImageFsInfo(grpc::ServerContext* call, const pb::ImageFsInfoRequest* request,
                           pb::ImageFsInfoResponse* response) override;
  // stream_list_rpcs.cc
  grpc::Status StreamImages(grpc::ServerContext* call, const pb::StreamImagesRequest* request,
                            grpc::ServerWriter<pb::StreamImagesResponse>* writer) override;

 private:
  void Describe(const image::Image& image, pb::Image* out) const EXCLUDES(mutex_);

  const Context lifetime_;
  mutable Mutex mutex_;
  // In the form of repo_tags and repo_digests.
  std::set<std::string> pinned_ GUARDED_BY(mutex_);
  image::ImageStore& images_;
  image::Puller& puller_;
  snapshotter::Snapshotter& snapshotter_;
};

}  // namespace berth::cri
