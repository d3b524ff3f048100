#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "cri/translate_request.h"

namespace berth::cri {

grpc::Status RuntimeService::ContainerStats(grpc::ServerContext*,
                                            const pb::ContainerStatsRequest* request,
                                            pb::ContainerStatsResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    ASSIGN_OR_RETURN(auto usage, runtime_.stats().Get(request->container_id()));
    ToPb(usage, response->mutable_stats());
    return Ok();
  });
}

grpc::Status RuntimeService::ListContainerStats(grpc::ServerContext*,
                                                const pb::ListContainerStatsRequest* request,
                                                pb::ListContainerStatsResponse* response) {
  for (const auto& usage : runtime_.stats().List(ContainerFilterOf(request->filter()))) {
    ToPb(usage, response->add_stats());
  }
  return grpc::Status::OK;
}

grpc::Status RuntimeService::PodSandboxStats(grpc::ServerContext*,
                                             const pb::PodSandboxStatsRequest* request,
                                             pb::PodSandboxStatsResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    ASSIGN_OR_RETURN(auto usage, runtime_.stats().GetPod(request->pod_sandbox_id()));
    ToPb(usage, response->mutable_stats());
    return Ok();
  });
}

grpc::Status RuntimeService::ListPodSandboxStats(grpc::ServerContext*,
                                                 const pb::ListPodSandboxStatsRequest* request,
                                                 pb::ListPodSandboxStatsResponse* response) {
  for (const auto& usage : runtime_.stats().ListPods(PodFilterOf(request->filter()))) {
    ToPb(usage, response->add_stats());
  }
  return grpc::Status::OK;
}

}  // namespace berth::cri
