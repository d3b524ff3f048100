#include "cli/client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string_view>

#include "base/strings.h"
#include "cri/proto/api.grpc.pb.h"

namespace berth::cli {
namespace {

// Lists of a busy node exceed gRPC's default of 4 MiB.
constexpr int kMaxMessageBytes = 64 << 20;
constexpr int64_t kNoTimeout = -1;
constexpr std::string_view kUnixScheme = "unix://";

using Runtime = rt::RuntimeService::Stub;
using Images = rt::ImageService::Stub;

template <typename Stub, typename Request, typename Response>
Result<Response> Invoke(const std::string& address, Stub& stub,
                        grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                     Response*),
                        const Request& request, int64_t timeout_ms) {
  grpc::ClientContext context;
  if (timeout_ms != kNoTimeout) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  }
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (status.ok()) return response;
  Error error(static_cast<Code>(status.error_code()), status.error_message());
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return std::move(error).Wrap(StrCat("no answer from ", address));
  }
  return error;
}

std::string Target(const std::string& address) {
  return address.starts_with('/') ? StrCat(kUnixScheme, address) : address;
}

}  // namespace

struct Client::Stubs {
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Images> images;
};

Client::Client(const std::string& address)
    : address_(Target(address)), stubs_(std::make_unique<Stubs>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  auto channel = grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  stubs_->runtime = rt::RuntimeService::NewStub(channel);
  stubs_->images = rt::ImageService::NewStub(channel);
}

Client::~Client() = default;

std::string Client::SocketPath() const {
  if (!address_.starts_with(kUnixScheme)) return "";
  return address_.substr(kUnixScheme.size());
}

Result<rt::VersionResponse> Client::Call(const rt::VersionRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::Version, request, kCallTimeoutMs);
}
Result<rt::StatusResponse> Client::Call(const rt::StatusRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::Status, request, kCallTimeoutMs);
}
Result<rt::RunPodSandboxResponse> Client::Call(const rt::RunPodSandboxRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::RunPodSandbox, request, kCallTimeoutMs);
}
Result<rt::StopPodSandboxResponse> Client::Call(const rt::StopPodSandboxRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::StopPodSandbox, request, kCallTimeoutMs);
}
Result<rt::RemovePodSandboxResponse> Client::Call(const rt::RemovePodSandboxRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::RemovePodSandbox, request, kCallTimeoutMs);
}
Result<rt::PodSandboxStatusResponse> Client::Call(const rt::PodSandboxStatusRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::PodSandboxStatus, request, kCallTimeoutMs);
}
Result<rt::ListPodSandboxResponse> Client::Call(const rt::ListPodSandboxRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::ListPodSandbox, request, kCallTimeoutMs);
}
Result<rt::CreateContainerResponse> Client::Call(const rt::CreateContainerRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::CreateContainer, request, kCallTimeoutMs);
}
Result<rt::StartContainerResponse> Client::Call(const rt::StartContainerRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::StartContainer, request, kCallTimeoutMs);
}
Result<rt::StopContainerResponse> Client::Call(const rt::StopContainerRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::StopContainer, request,
                kCallTimeoutMs + request.timeout() * 1000);
}
Result<rt::RemoveContainerResponse> Client::Call(const rt::RemoveContainerRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::RemoveContainer, request, kCallTimeoutMs);
}
Result<rt::ListContainersResponse> Client::Call(const rt::ListContainersRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::ListContainers, request, kCallTimeoutMs);
}
Result<rt::ContainerStatusResponse> Client::Call(const rt::ContainerStatusRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::ContainerStatus, request, kCallTimeoutMs);
}
Result<rt::ListContainerStatsResponse> Client::Call(const rt::ListContainerStatsRequest& request) {
  return Invoke(address_, *stubs_->runtime, &Runtime::ListContainerStats, request, kCallTimeoutMs);
}
Result<rt::ExecSyncResponse> Client::Call(const rt::ExecSyncRequest& request) {
  const int64_t timeout_ms =
      request.timeout() > 0 ? kCallTimeoutMs + request.timeout() * 1000 : kNoTimeout;
  return Invoke(address_, *stubs_->runtime, &Runtime::ExecSync, request, timeout_ms);
}
Result<rt::ListImagesResponse> Client::Call(const rt::ListImagesRequest& request) {
  return Invoke(address_, *stubs_->images, &Images::ListImages, request, kCallTimeoutMs);
}
Result<rt::ImageStatusResponse> Client::Call(const rt::ImageStatusRequest& request) {
  return Invoke(address_, *stubs_->images, &Images::ImageStatus, request, kCallTimeoutMs);
}
Result<rt::PullImageResponse> Client::Call(const rt::PullImageRequest& request) {
  return Invoke(address_, *stubs_->images, &Images::PullImage, request, kNoTimeout);
}
Result<rt::RemoveImageResponse> Client::Call(const rt::RemoveImageRequest& request) {
  return Invoke(address_, *stubs_->images, &Images::RemoveImage, request, kCallTimeoutMs);
}
Result<rt::ImageFsInfoResponse> Client::Call(const rt::ImageFsInfoRequest& request) {
  return Invoke(address_, *stubs_->images, &Images::ImageFsInfo, request, kCallTimeoutMs);
}

}  // namespace berth::cli
