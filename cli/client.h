// Calls to berthd (or any other CRI v1 server) over its unix socket.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "cri/proto/api.pb.h"

namespace berth::cli {

namespace rt = ::runtime::v1;

inline constexpr char kDefaultAddress[] = "unix:///run/berth/berth.sock";

// How long a call may take. Pulls and stops get their own.
inline constexpr int64_t kCallTimeoutMs = 2 * 60 * 1000;

// One connection, made at the first call. Thread-safe. Every method blocks until the answer or the
// time-out; an Error carries the server's code and text.
class Client {
 public:
  // `address` is unix:///path or a plain path.
  explicit Client(const std::string& address);
  ~Client();

  const std::string& address() const { return address_; }
  // The path of the socket; empty if the address is not one of a unix socket.
  std::string SocketPath() const;

  // One overload for each request.
  Result<rt::VersionResponse> Call(const rt::VersionRequest& request);
  Result<rt::StatusResponse> Call(const rt::StatusRequest& request);
  Result<rt::RunPodSandboxResponse> Call(const rt::RunPodSandboxRequest& request);
  Result<rt::StopPodSandboxResponse> Call(const rt::StopPodSandboxRequest& request);
  Result<rt::RemovePodSandboxResponse> Call(const rt::RemovePodSandboxRequest& request);
  Result<rt::PodSandboxStatusResponse> Call(const rt::PodSandboxStatusRequest& request);
  Result<rt::ListPodSandboxResponse> Call(const rt::ListPodSandboxRequest& request);
  Result<rt::CreateContainerResponse> Call(const rt::CreateContainerRequest& request);
  Result<rt::StartContainerResponse> Call(const rt::StartContainerRequest& request);
  // The request's own time-out is added to kCallTimeoutMs; likewise for ExecSync.
  Result<rt::StopContainerResponse> Call(const rt::StopContainerRequest& request);
  Result<rt::RemoveContainerResponse> Call(const rt::RemoveContainerRequest& request);
  Result<rt::ListContainersResponse> Call(const rt::ListContainersRequest& request);
  Result<rt::ContainerStatusResponse> Call(const rt::ContainerStatusRequest& request);
  Result<rt::ListContainerStatsResponse> Call(const rt::ListContainerStatsRequest& request);
  // Without a time-out of its own it may take as long as the command does.
  Result<rt::ExecSyncResponse> Call(const rt::ExecSyncRequest& request);
  // These three give URLs.
  Result<rt::ExecResponse> Call(const rt::ExecRequest& request);
  Result<rt::AttachResponse> Call(const rt::AttachRequest& request);
  Result<rt::PortForwardResponse> Call(const rt::PortForwardRequest& request);
  Result<rt::ListImagesResponse> Call(const rt::ListImagesRequest& request);
  Result<rt::ImageStatusResponse> Call(const rt::ImageStatusRequest& request);
  // As long as it takes.
  Result<rt::PullImageResponse> Call(const rt::PullImageRequest& request);
  Result<rt::RemoveImageResponse> Call(const rt::RemoveImageRequest& request);
  Result<rt::ImageFsInfoResponse> Call(const rt::ImageFsInfoRequest& request);

 private:
  struct Stubs;
  std::string address_;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace berth::cli
