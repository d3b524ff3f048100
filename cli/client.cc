#include "cli/client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string_view>

#include "base/strings.h"
#include "cli/channel.h"
#include "cri/proto/api.grpc.pb.h"

namespace berth::cli {
namespace {

constexpr int64_t kNoTimeout = -1;
constexpr std::string_view kUnixScheme = "unix://";

using Runtime = rt::RuntimeService::Stub;
using Images = rt::ImageService::Stub;

std::string Target(const std::string& address) {
  return address.starts_with('/') ? StrCat(kUnixScheme, address) : address;
}

}  // namespace

struct Client::Stubs {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Images> images;

  template <typename Stub, typename Request, typename Response>
  Result<Response> Invoke(Stub& stub,
                          grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                       Response*),
                          const Request& request, int64_t timeout_ms) {
    grpc::ClientContext context;
    if (timeout_ms != kNoTimeout) {
      context.set_deadline(std::chrono::system_clock::now() +
                           std::chrono::milliseconds(timeout_ms));
    }
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (status.ok()) return response;
    return CallError(*channel, status);
  }
};

Client::Client(const std::string& address)
    : address_(Target(address)), stubs_(std::make_unique<Stubs>()) {
  stubs_->channel = MakeChannel(address_);
  stubs_->runtime = rt::RuntimeService::NewStub(stubs_->channel);
  stubs_->images = rt::ImageService::NewStub(stubs_->channel);
}

Client::~Client() = default;

std::string Client::SocketPath() const {
  if (!address_.starts_with(kUnixScheme)) return "";
  return address_.substr(kUnixScheme.size());
}

Result<rt::VersionResponse> Client::Call(const rt::VersionRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::Version, request, kCallTimeoutMs);
}
Result<rt::StatusResponse> Client::Call(const rt::StatusRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::Status, request, kCallTimeoutMs);
}
Result<rt::RunPodSandboxResponse> Client::Call(const rt::RunPodSandboxRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::RunPodSandbox, request, kCallTimeoutMs);
}
Result<rt::StopPodSandboxResponse> Client::Call(const rt::StopPodSandboxRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::StopPodSandbox, request, kCallTimeoutMs);
}
Result<rt::RemovePodSandboxResponse> Client::Call(const rt::RemovePodSandboxRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::RemovePodSandbox, request, kCallTimeoutMs);
}
Result<rt::PodSandboxStatusResponse> Client::Call(const rt::PodSandboxStatusRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::PodSandboxStatus, request, kCallTimeoutMs);
}
Result<rt::ListPodSandboxResponse> Client::Call(const rt::ListPodSandboxRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::ListPodSandbox, request, kCallTimeoutMs);
}
Result<rt::CreateContainerResponse> Client::Call(const rt::CreateContainerRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::CreateContainer, request, kCallTimeoutMs);
}
Result<rt::StartContainerResponse> Client::Call(const rt::StartContainerRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::StartContainer, request, kCallTimeoutMs);
}
Result<rt::StopContainerResponse> Client::Call(const rt::StopContainerRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::StopContainer, request,
                        kCallTimeoutMs + request.timeout() * 1000);
}
Result<rt::RemoveContainerResponse> Client::Call(const rt::RemoveContainerRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::RemoveContainer, request, kCallTimeoutMs);
}
Result<rt::ListContainersResponse> Client::Call(const rt::ListContainersRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::ListContainers, request, kCallTimeoutMs);
}
Result<rt::ContainerStatusResponse> Client::Call(const rt::ContainerStatusRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::ContainerStatus, request, kCallTimeoutMs);
}
Result<rt::ListContainerStatsResponse> Client::Call(const rt::ListContainerStatsRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::ListContainerStats, request, kCallTimeoutMs);
}
Result<rt::ExecSyncResponse> Client::Call(const rt::ExecSyncRequest& request) {
  const int64_t timeout_ms =
      request.timeout() > 0 ? kCallTimeoutMs + request.timeout() * 1000 : kNoTimeout;
  return stubs_->Invoke(*stubs_->runtime, &Runtime::ExecSync, request, timeout_ms);
}
Result<rt::ExecResponse> Client::Call(const rt::ExecRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::Exec, request, kCallTimeoutMs);
}
Result<rt::AttachResponse> Client::Call(const rt::AttachRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::Attach, request, kCallTimeoutMs);
}
Result<rt::PortForwardResponse> Client::Call(const rt::PortForwardRequest& request) {
  return stubs_->Invoke(*stubs_->runtime, &Runtime::PortForward, request, kCallTimeoutMs);
}
Result<rt::ListImagesResponse> Client::Call(const rt::ListImagesRequest& request) {
  return stubs_->Invoke(*stubs_->images, &Images::ListImages, request, kCallTimeoutMs);
}
Result<rt::ImageStatusResponse> Client::Call(const rt::ImageStatusRequest& request) {
  return stubs_->Invoke(*stubs_->images, &Images::ImageStatus, request, kCallTimeoutMs);
}
Result<rt::PullImageResponse> Client::Call(const rt::PullImageRequest& request) {
  return stubs_->Invoke(*stubs_->images, &Images::PullImage, request, kNoTimeout);
}
Result<rt::RemoveImageResponse> Client::Call(const rt::RemoveImageRequest& request) {
  return stubs_->Invoke(*stubs_->images, &Images::RemoveImage, request, kCallTimeoutMs);
}
Result<rt::ImageFsInfoResponse> Client::Call(const rt::ImageFsInfoRequest& request) {
  return stubs_->Invoke(*stubs_->images, &Images::ImageFsInfo, request, kCallTimeoutMs);
}

}  // namespace berth::cli
