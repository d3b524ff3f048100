// berth.v1: what CRI has no call for. See cri/proto/berth.proto.
#pragma once

#include "base/context.h"
#include "cri/proto/berth.grpc.pb.h"
#include "image/image_store.h"
#include "image/puller.h"

namespace berth::cri {

namespace bv1 = ::berth::v1;

// What the calls work on; all of it must outlive the service.
struct BerthServiceParts {
  image::ImageStore& images;
  image::Puller& puller;
};

// Thread-safe.
class BerthService final : public bv1::Berth::Service {
 public:
  // `lifetime` ends when the daemon stops, and what is under way with it.
  BerthService(Context lifetime, BerthServiceParts parts)
      : lifetime_(std::move(lifetime)), parts_(parts) {}

  grpc::Status Pull(grpc::ServerContext* call, const bv1::PullRequest* request,
                    grpc::ServerWriter<bv1::PullResponse>* writer) override;
  grpc::Status WatchPulls(grpc::ServerContext* call, const bv1::WatchPullsRequest* request,
                          grpc::ServerWriter<bv1::WatchPullsResponse>* writer) override;
  grpc::Status TagImage(grpc::ServerContext* call, const bv1::TagImageRequest* request,
                        bv1::TagImageResponse* response) override;

 private:
  const Context lifetime_;
  BerthServiceParts parts_;
};

}  // namespace berth::cri
