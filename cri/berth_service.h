// berth.v1: what CRI has no call for. See cri/proto/berth.proto.
#pragma once

#include "base/context.h"
#include "cri/proto/berth.grpc.pb.h"
#include "image/exporter.h"
#include "image/image_store.h"
#include "image/importer.h"
#include "image/puller.h"
#include "image/pusher.h"

namespace berth::cri {

namespace bv1 = ::berth::v1;

// What the calls work on; all of it must outlive the service.
struct BerthServiceParts {
  image::ImageStore& images;
  image::Puller& puller;
  image::Importer& importer;
  image::Exporter& exporter;
  image::Pusher& pusher;
  snapshotter::Snapshotter& snapshotter;
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
  grpc::Status PushImage(grpc::ServerContext* call, const bv1::PushImageRequest* request,
                         grpc::ServerWriter<bv1::PushImageResponse>* writer) override;
  grpc::Status CollectGarbage(grpc::ServerContext* call, const bv1::CollectGarbageRequest* request,
                              bv1::CollectGarbageResponse* response) override;
  // berth_verify_rpc.cc
  grpc::Status VerifyStore(grpc::ServerContext* call, const bv1::VerifyStoreRequest* request,
                           grpc::ServerWriter<bv1::VerifyStoreResponse>* writer) override;
  // berth_import_rpc.cc
  grpc::Status ImportImages(grpc::ServerContext* call,
                            grpc::ServerReaderWriter<bv1::ImportImagesResponse,
                                                     bv1::ImportImagesRequest>* stream) override;
  // berth_export_rpc.cc
  grpc::Status ExportImages(grpc::ServerContext* call, const bv1::ExportImagesRequest* request,
                            grpc::ServerWriter<bv1::ExportImagesResponse>* writer) override;

 private:
  const Context lifetime_;
  BerthServiceParts parts_;
};

}  // namespace berth::cri
