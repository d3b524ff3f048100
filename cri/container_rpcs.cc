#include "base/utf8.h"
#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "cri/translate_request.h"

namespace berth::cri {

grpc::Status RuntimeService::CreateContainer(grpc::ServerContext*,
                                             const pb::CreateContainerRequest* request,
                                             pb::CreateContainerResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    ASSIGN_OR_RETURN(auto config, ContainerConfigOf(request->config()));
    ASSIGN_OR_RETURN(auto id,
                     runtime_.containers().Create(Lasting(), request->pod_sandbox_id(), config));
    response->set_container_id(id);
    return Ok();
  });
}

grpc::Status RuntimeService::StartContainer(grpc::ServerContext*,
                                            const pb::StartContainerRequest* request,
                                            pb::StartContainerResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    return runtime_.containers().Start(Lasting(), request->container_id());
  });
}

grpc::Status RuntimeService::StopContainer(grpc::ServerContext* call,
                                           const pb::StopContainerRequest* request,
                                           pb::StopContainerResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    ASSIGN_OR_RETURN(int64_t timeout, SecondsOf(request->timeout(), "timeout"));
    return runtime_.containers().Stop(Bounded(*call), request->container_id(), timeout);
  });
}

grpc::Status RuntimeService::RemoveContainer(grpc::ServerContext* call,
                                             const pb::RemoveContainerRequest* request,
                                             pb::RemoveContainerResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    return runtime_.containers().Remove(Bounded(*call), request->container_id());
  });
}

grpc::Status RuntimeService::ListContainers(grpc::ServerContext*,
                                            const pb::ListContainersRequest* request,
                                            pb::ListContainersResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto filter, ContainerFilterOf(request->filter()));
    runtime_.containers().ForEach(filter, [&](const runtime::Container& container) {
      ToPb(container, response->add_containers());
    });
    return Ok();
  });
}

void RuntimeService::Describe(const runtime::Container& container, pb::ContainerStatus* out) const {
  ToPb(container, out);
  auto image = images_.Find(container.image_id);
  out->mutable_image()->set_image(ImageNameOf(container, image.get()));
}

grpc::Status RuntimeService::ContainerStatus(grpc::ServerContext*,
                                             const pb::ContainerStatusRequest* request,
                                             pb::ContainerStatusResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    ASSIGN_OR_RETURN(auto container, runtime_.containers().Get(request->container_id()));
    Describe(container, response->mutable_status());
    if (request->verbose()) {
      ASSIGN_OR_RETURN(auto info, runtime_.containers().Info(container.id));
      (*response->mutable_info())["info"] = ToUtf8(info);
    }
    return Ok();
  });
}

grpc::Status RuntimeService::UpdateContainerResources(
    grpc::ServerContext*, const pb::UpdateContainerResourcesRequest* request,
    pb::UpdateContainerResourcesResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    if (!request->has_linux()) return Error(Code::kInvalidArgument, "linux: missing");
    ASSIGN_OR_RETURN(auto resources, ResourcesOf(request->linux(), "linux"));
    return runtime_.containers().UpdateResources(Lasting(), request->container_id(), resources);
  });
}

grpc::Status RuntimeService::ReopenContainerLog(grpc::ServerContext* call,
                                                const pb::ReopenContainerLogRequest* request,
                                                pb::ReopenContainerLogResponse*) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    return runtime_.containers().ReopenLog(Bounded(*call), request->container_id());
  });
}

}  // namespace berth::cri
