#include "cli/berth_client.h"

#include <grpcpp/grpcpp.h>

#include "cli/channel.h"
#include "cri/proto/berth.grpc.pb.h"

namespace berth::cli {

struct BerthClient::Stubs {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<bv1::Berth::Stub> berth;

  Status Finished(const grpc::Status& status) {
    if (status.ok()) return Ok();
    return CallError(*channel, status);
  }

  template <typename Response>
  Status ReadAll(grpc::ClientContext& context, grpc::ClientReader<Response>& reader,
                 const News<Response>& news) {
    Response message;
    Status stopped;
    while (stopped.ok() && reader.Read(&message)) stopped = news(message);
    if (!stopped.ok()) context.TryCancel();
    const grpc::Status status = reader.Finish();
    return stopped.ok() ? Finished(status) : stopped;
  }
};

BerthClient::BerthClient(const std::string& address) : stubs_(std::make_unique<Stubs>()) {
  stubs_->channel = MakeChannel(address);
  stubs_->berth = bv1::Berth::NewStub(stubs_->channel);
}

BerthClient::~BerthClient() = default;

Result<bv1::TagImageResponse> BerthClient::Call(const bv1::TagImageRequest& request) {
  grpc::ClientContext context;
  bv1::TagImageResponse response;
  RETURN_IF_ERROR(stubs_->Finished(stubs_->berth->TagImage(&context, request, &response)));
  return response;
}

Result<bv1::CollectGarbageResponse> BerthClient::Call(const bv1::CollectGarbageRequest& request) {
  grpc::ClientContext context;
  bv1::CollectGarbageResponse response;
  RETURN_IF_ERROR(stubs_->Finished(stubs_->berth->CollectGarbage(&context, request, &response)));
  return response;
}

Status BerthClient::Stream(const bv1::PullRequest& request, const News<bv1::PullResponse>& news) {
  grpc::ClientContext context;
  return stubs_->ReadAll(context, *stubs_->berth->Pull(&context, request), news);
}
Status BerthClient::Stream(const bv1::WatchPullsRequest& request,
                           const News<bv1::WatchPullsResponse>& news) {
  grpc::ClientContext context;
  return stubs_->ReadAll(context, *stubs_->berth->WatchPulls(&context, request), news);
}
Status BerthClient::Stream(const bv1::PushImageRequest& request,
                           const News<bv1::PushImageResponse>& news) {
  grpc::ClientContext context;
  return stubs_->ReadAll(context, *stubs_->berth->PushImage(&context, request), news);
}
Status BerthClient::Stream(const bv1::ExportImagesRequest& request,
                           const News<bv1::ExportImagesResponse>& news) {
  grpc::ClientContext context;
  return stubs_->ReadAll(context, *stubs_->berth->ExportImages(&context, request), news);
}
Status BerthClient::Stream(const bv1::VerifyStoreRequest& request,
                           const News<bv1::VerifyStoreResponse>& news) {
  grpc::ClientContext context;
  return stubs_->ReadAll(context, *stubs_->berth->VerifyStore(&context, request), news);
}

Status BerthClient::Import(const bv1::ImportImagesRequest& begin, const ImportAnswer& answer) {
  grpc::ClientContext context;
  auto stream = stubs_->berth->ImportImages(&context);
  Status stopped;
  bool open = stream->Write(begin);
  bv1::ImportImagesResponse message;
  while (open && stream->Read(&message)) {
    auto reply = answer(message);
    if (!reply.ok()) {
      stopped = std::move(reply).error();
      context.TryCancel();
      break;
    }
    // The stream's status says why it takes no more.
    if (*reply != nullptr && !stream->Write(**reply)) break;
    if (message.finished()) stream->WritesDone();
  }
  const grpc::Status status = stream->Finish();
  return stopped.ok() ? stubs_->Finished(status) : stopped;
}

}  // namespace berth::cli
