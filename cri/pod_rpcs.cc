#include "base/utf8.h"
#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "cri/translate_request.h"

namespace berth::cri {

grpc::Status RuntimeService::RunPodSandbox(grpc::ServerContext*,
                                           const pb::RunPodSandboxRequest* request,
                                           pb::RunPodSandboxResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto config, PodConfigOf(request->config()));
    ASSIGN_OR_RETURN(auto id, runtime_.pods().Run(Lasting(), config, request->runtime_handler()));
    response->set_pod_sandbox_id(id);
    return Ok();
  });
}

grpc::Status RuntimeService::StopPodSandbox(grpc::ServerContext* call,
                                            const pb::StopPodSandboxRequest* request,
                                            pb::StopPodSandboxResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    return runtime_.pods().Stop(Bounded(*call), request->pod_sandbox_id());
  });
}

grpc::Status RuntimeService::RemovePodSandbox(grpc::ServerContext* call,
                                              const pb::RemovePodSandboxRequest* request,
                                              pb::RemovePodSandboxResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    return runtime_.pods().Remove(Bounded(*call), request->pod_sandbox_id());
  });
}

grpc::Status RuntimeService::PodSandboxStatus(grpc::ServerContext*,
                                              const pb::PodSandboxStatusRequest* request,
                                              pb::PodSandboxStatusResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    ASSIGN_OR_RETURN(auto snapshot, runtime_.pods().Snapshot(request->pod_sandbox_id()));
    ToPb(snapshot.pod, response->mutable_status());
    for (const runtime::Container& container : snapshot.containers) {
      Describe(container, response->add_containers_statuses());
    }
    response->set_timestamp(snapshot.timestamp_ns);
    if (request->verbose()) {
      ASSIGN_OR_RETURN(auto info, runtime_.pods().Info(snapshot.pod.id));
      (*response->mutable_info())["info"] = ToUtf8(info);
    }
    return Ok();
  });
}

grpc::Status RuntimeService::ListPodSandbox(grpc::ServerContext*,
                                            const pb::ListPodSandboxRequest* request,
                                            pb::ListPodSandboxResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto filter, PodFilterOf(request->filter()));
    runtime_.pods().ForEach(filter,
                            [&](const runtime::Pod& pod) { ToPb(pod, response->add_items()); });
    return Ok();
  });
}

grpc::Status RuntimeService::UpdatePodSandboxResources(
    grpc::ServerContext*, const pb::UpdatePodSandboxResourcesRequest* request,
    pb::UpdatePodSandboxResourcesResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    std::optional<runtime::LinuxResources> overhead, resources;
    if (request->has_overhead()) {
      ASSIGN_OR_RETURN(overhead, ResourcesOf(request->overhead(), "overhead"));
    }
    if (request->has_resources()) {
      ASSIGN_OR_RETURN(resources, ResourcesOf(request->resources(), "resources"));
    }
    return runtime_.pods().UpdateResources(Lasting(), request->pod_sandbox_id(), overhead,
                                           resources);
  });
}

}  // namespace berth::cri
