// CRI's RuntimeService. Each RPC checks and translates its request, calls one verb of the runtime
// and translates the answer. What is not overridden here is not there yet: clients get
// UNIMPLEMENTED with a message from cri/call_log.h. docs/CRI.md lists all RPCs.
#pragma once

#include <string>

#include "base/context.h"
#include "config/live.h"
#include "cri/pb.h"
#include "cri/proto/api.grpc.pb.h"
#include "cri/stream/server.h"
#include "image/image_store.h"
#include "runtime/runtime.h"

namespace berth::cri {

struct RuntimeServiceOptions {
  std::string version;  // of Berth, a semantic version
  const config::LiveConfig& config;
  // Ends when the daemon stops: what is still being done is then undone or left for recovery.
  Context lifetime = Context::Background();
};

// Thread-safe: gRPC calls it from many threads. What it is made of must outlive it.
class RuntimeService final : public pb::RuntimeService::Service {
 public:
  RuntimeService(RuntimeServiceOptions options, runtime::Runtime& runtime,
                 image::ImageStore& images, stream::Server& streams);

  // status_rpcs.cc
  grpc::Status Version(grpc::ServerContext* call, const pb::VersionRequest* request,
                       pb::VersionResponse* response) override;
  grpc::Status Status(grpc::ServerContext* call, const pb::StatusRequest* request,
                      pb::StatusResponse* response) override;
  grpc::Status RuntimeConfig(grpc::ServerContext* call, const pb::RuntimeConfigRequest* request,
                             pb::RuntimeConfigResponse* response) override;
  grpc::Status UpdateRuntimeConfig(grpc::ServerContext* call,
                                   const pb::UpdateRuntimeConfigRequest* request,
                                   pb::UpdateRuntimeConfigResponse* response) override;

  // pod_rpcs.cc
  grpc::Status RunPodSandbox(grpc::ServerContext* call, const pb::RunPodSandboxRequest* request,
                             pb::RunPodSandboxResponse* response) override;
  grpc::Status StopPodSandbox(grpc::ServerContext* call, const pb::StopPodSandboxRequest* request,
                              pb::StopPodSandboxResponse* response) override;
  grpc::Status RemovePodSandbox(grpc::ServerContext* call,
                                const pb::RemovePodSandboxRequest* request,
                                pb::RemovePodSandboxResponse* response) override;
  grpc::Status PodSandboxStatus(grpc::ServerContext* call,
                                const pb::PodSandboxStatusRequest* request,
                                pb::PodSandboxStatusResponse* response) override;
  grpc::Status ListPodSandbox(grpc::ServerContext* call, const pb::ListPodSandboxRequest* request,
                              pb::ListPodSandboxResponse* response) override;
  grpc::Status UpdatePodSandboxResources(grpc::ServerContext* call,
                                         const pb::UpdatePodSandboxResourcesRequest* request,
                                         pb::UpdatePodSandboxResourcesResponse* response) override;

  // container_rpcs.cc
  grpc::Status CreateContainer(grpc::ServerContext* call, const pb::CreateContainerRequest* request,
                               pb::CreateContainerResponse* response) override;
  grpc::Status StartContainer(grpc::ServerContext* call, const pb::StartContainerRequest* request,
                              pb::StartContainerResponse* response) override;
  grpc::Status StopContainer(grpc::ServerContext* call, const pb::StopContainerRequest* request,
                             pb::StopContainerResponse* response) override;
  grpc::Status RemoveContainer(grpc::ServerContext* call, const pb::RemoveContainerRequest* request,
                               pb::RemoveContainerResponse* response) override;
  grpc::Status ListContainers(grpc::ServerContext* call, const pb::ListContainersRequest* request,
                              pb::ListContainersResponse* response) override;
  grpc::Status ContainerStatus(grpc::ServerContext* call, const pb::ContainerStatusRequest* request,
                               pb::ContainerStatusResponse* response) override;
  grpc::Status UpdateContainerResources(grpc::ServerContext* call,
                                        const pb::UpdateContainerResourcesRequest* request,
                                        pb::UpdateContainerResourcesResponse* response) override;
  grpc::Status ReopenContainerLog(grpc::ServerContext* call,
                                  const pb::ReopenContainerLogRequest* request,
                                  pb::ReopenContainerLogResponse* response) override;

  // exec_rpcs.cc
  grpc::Status ExecSync(grpc::ServerContext* call, const pb::ExecSyncRequest* request,
                        pb::ExecSyncResponse* response) override;
  // A URL of the streaming server with a token: cri/stream/server.h.
  grpc::Status Exec(grpc::ServerContext* call, const pb::ExecRequest* request,
                    pb::ExecResponse* response) override;
  grpc::Status Attach(grpc::ServerContext* call, const pb::AttachRequest* request,
                      pb::AttachResponse* response) override;
  grpc::Status PortForward(grpc::ServerContext* call, const pb::PortForwardRequest* request,
                           pb::PortForwardResponse* response) override;

  // stats_rpcs.cc
  grpc::Status ContainerStats(grpc::ServerContext* call, const pb::ContainerStatsRequest* request,
                              pb::ContainerStatsResponse* response) override;
  grpc::Status ListContainerStats(grpc::ServerContext* call,
                                  const pb::ListContainerStatsRequest* request,
                                  pb::ListContainerStatsResponse* response) override;
  grpc::Status PodSandboxStats(grpc::ServerContext* call, const pb::PodSandboxStatsRequest* request,
                               pb::PodSandboxStatsResponse* response) override;
  grpc::Status ListPodSandboxStats(grpc::ServerContext* call,
                                   const pb::ListPodSandboxStatsRequest* request,
                                   pb::ListPodSandboxStatsResponse* response) override;

  // metrics_rpcs.cc
  grpc::Status ListMetricDescriptors(grpc::ServerContext* call,
                                     const pb::ListMetricDescriptorsRequest* request,
                                     pb::ListMetricDescriptorsResponse* response) override;
  grpc::Status ListPodSandboxMetrics(grpc::ServerContext* call,
                                     const pb::ListPodSandboxMetricsRequest* request,
                                     pb::ListPodSandboxMetricsResponse* response) override;

  // events_rpcs.cc
  grpc::Status GetContainerEvents(grpc::ServerContext* call, const pb::GetEventsRequest* request,
                                  grpc::ServerWriter<pb::ContainerEventResponse>* writer) override;

  // stream_list_rpcs.cc
  grpc::Status StreamPodSandboxes(
      grpc::ServerContext* call, const pb::StreamPodSandboxesRequest* request,
      grpc::ServerWriter<pb::StreamPodSandboxesResponse>* writer) override;
  grpc::Status StreamContainers(grpc::ServerContext* call,
                                const pb::StreamContainersRequest* request,
                                grpc::ServerWriter<pb::StreamContainersResponse>* writer) override;
  grpc::Status StreamContainerStats(
      grpc::ServerContext* call, const pb::StreamContainerStatsRequest* request,
      grpc::ServerWriter<pb::StreamContainerStatsResponse>* writer) override;
  grpc::Status StreamPodSandboxStats(
      grpc::ServerContext* call, const pb::StreamPodSandboxStatsRequest* request,
      grpc::ServerWriter<pb::StreamPodSandboxStatsResponse>* writer) override;
  grpc::Status StreamPodSandboxMetrics(
      grpc::ServerContext* call, const pb::StreamPodSandboxMetricsRequest* request,
      grpc::ServerWriter<pb::StreamPodSandboxMetricsResponse>* writer) override;

 private:
  // Each pod's metrics as the bytes of a PodSandboxMetrics (metrics_wire.h). As a field that the
  // message does not know they go out as they are.
  std::vector<std::string> PodMetricsBytes();
  // A container's status with the name of its image.
  void Describe(const runtime::Container& container, pb::ContainerStatus* out) const;
  // For verbs that a client's retry takes up where they are: they go on when the client has gone.
  const Context& Lasting() const { return options_.lifetime; }
  // For verbs that nobody needs any more once the client's deadline has passed.
  Context Bounded(const grpc::ServerContext& call) const;

  const RuntimeServiceOptions options_;
  runtime::Runtime& runtime_;
  image::ImageStore& images_;
  stream::Server& streams_;
};

}  // namespace berth::cri
