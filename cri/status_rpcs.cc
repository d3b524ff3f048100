#include "base/utf8.h"
#include "cri/runtime_service.h"
#include "cri/status.h"
#include "runtime/cni_template.h"

namespace berth::cri {

namespace {

void AddCondition(const char* type, const berth::Status& state, const char* reason,
                  pb::RuntimeStatus* status) {
  pb::RuntimeCondition* condition = status->add_conditions();
  condition->set_type(type);
  condition->set_status(state.ok());
  if (state.ok()) return;
  condition->set_reason(reason);
  condition->set_message(ToUtf8(state.error().message()));
}

}  // namespace

grpc::Status RuntimeService::Version(grpc::ServerContext*, const pb::VersionRequest*,
                                     pb::VersionResponse* response) {
  // The version of kubelet's runtime API, which has been this from the beginning.
  response->set_version("0.1.0");
  response->set_runtime_name("berth");
  response->set_runtime_version(options_.version);
  response->set_runtime_api_version("v1");
  return grpc::Status::OK;
}

grpc::Status RuntimeService::Status(grpc::ServerContext*, const pb::StatusRequest* request,
                                    pb::StatusResponse* response) {
  // The service answers only after the runtime has been opened, and then it is ready.
  AddCondition("RuntimeReady", Ok(), "", response->mutable_status());
  AddCondition("NetworkReady", runtime_.cni().Ready(), "NetworkPluginNotReady",
               response->mutable_status());
  const bool user_namespaces = runtime_.pods().SupportsUserNamespaces();
  const auto handlers = runtime_.handlers();
  for (const auto& [name, features] : handlers->All()) {
    pb::RuntimeHandler* handler = response->add_runtime_handlers();
    handler->set_name(name);
    handler->mutable_features()->set_recursive_read_only_mounts(
        features.recursive_read_only_mounts);
    handler->mutable_features()->set_user_namespaces(features.user_namespaces && user_namespaces);
  }
  response->mutable_features()->set_supplemental_groups_policy(true);
  response->mutable_features()->set_mount_options(true);
  response->mutable_features()->set_user_namespaces_host_network(user_namespaces);
  if (request->verbose()) {
    auto& info = *response->mutable_info();
    info["config"] = ToUtf8(config::ToJson(*options_.config.Get()));
    info["cniconfig"] = ToUtf8(runtime_.cni().ConfigJson());
  }
  return grpc::Status::OK;
}

grpc::Status RuntimeService::RuntimeConfig(grpc::ServerContext*, const pb::RuntimeConfigRequest*,
                                           pb::RuntimeConfigResponse* response) {
  const bool systemd = runtime_.cgroups().is_systemd();
  response->mutable_linux()->set_cgroup_driver(systemd ? pb::SYSTEMD : pb::CGROUPFS);
  return grpc::Status::OK;
}

grpc::Status RuntimeService::UpdateRuntimeConfig(grpc::ServerContext*,
                                                 const pb::UpdateRuntimeConfigRequest* request,
                                                 pb::UpdateRuntimeConfigResponse*) {
  return Answer([&]() -> berth::Status {
    const std::string& pod_cidr = request->runtime_config().network_config().pod_cidr();
    // kubelet tells "no range yet" like this.
    if (pod_cidr.empty()) return Ok();
    ASSIGN_OR_RETURN(auto cidrs, runtime::ParsePodCidrs(pod_cidr),
                     "runtime_config.network_config.pod_cidr");
    const config::Config::Cni cni = options_.config->cni;
    // Whoever makes the network without a template of ours knows the range by himself.
    if (cni.conf_template.empty()) return Ok();
    return runtime::WriteCniFromTemplate(cni.conf_template, cni.conf_dir, cidrs);
  });
}

}  // namespace berth::cri
