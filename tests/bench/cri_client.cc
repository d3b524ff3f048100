#include "tests/bench/cri_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "cri/proto/api.grpc.pb.h"
#include "tests/bench/usage.h"

namespace berth::bench {
namespace {

namespace v1 = ::runtime::v1;

constexpr const char* kLabel = "berth-bench";
constexpr int kMaxMessageBytes = 16 << 20;

template <typename Stub, typename Request, typename Response>
using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

// One call with a deadline; an error names the call.
template <typename Stub, typename StubBase, typename Request, typename Response>
Result<Response> Call(Stub& stub, const char* name, Method<StubBase, Request, Response> method,
                      const Request& request,
                      std::chrono::seconds timeout = std::chrono::minutes(2)) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  Response response;
  grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) {
    return Error(static_cast<Code>(status.error_code()),
                 StrCat(name, ": ", status.error_message()));
  }
  return response;
}

// A call whose answer carries nothing.
template <typename... Args>
Status CallForStatus(Args&&... args) {
  auto response = Call(std::forward<Args>(args)...);
  if (!response.ok()) return std::move(response).error();
  return Ok();
}

v1::PodSandboxConfig PodConfig(const PodSpec& pod) {
  v1::PodSandboxConfig config;
  config.mutable_metadata()->set_name(pod.name);
  config.mutable_metadata()->set_uid(pod.name);
  config.mutable_metadata()->set_namespace_("bench");
  config.set_log_directory(pod.log_directory);
  config.mutable_dns_config()->add_servers("10.96.0.10");
  config.mutable_dns_config()->add_searches("bench.svc.cluster.local");
  (*config.mutable_labels())[kLabel] = "1";
  auto* linux_config = config.mutable_linux();
  linux_config->set_cgroup_parent(pod.cgroup_parent);
  auto* security = linux_config->mutable_security_context();
  security->mutable_seccomp()->set_profile_type(v1::SecurityProfile::RuntimeDefault);
  auto* namespaces = security->mutable_namespace_options();
  namespaces->set_pid(v1::NamespaceMode::CONTAINER);
  if (pod.host_network) {
    namespaces->set_network(v1::NamespaceMode::NODE);
  } else {
    config.set_hostname(pod.name);
  }
  return config;
}

v1::ContainerConfig ContainerOf(const PodSpec& pod, const std::string& image) {
  v1::ContainerConfig config;
  config.mutable_metadata()->set_name("main");
  config.mutable_image()->set_image(image);
  config.add_command("/pause");
  config.add_args(std::string(kWorkloadMark));
  config.set_log_path(kLogName);
  (*config.mutable_labels())[kLabel] = "1";
  auto* env = config.add_envs();
  env->set_key("BENCH");
  env->set_value("1");
  auto* resources = config.mutable_linux()->mutable_resources();
  resources->set_cpu_shares(102);
  resources->set_memory_limit_in_bytes(128 << 20);
  resources->set_oom_score_adj(900);
  auto* security = config.mutable_linux()->mutable_security_context();
  security->mutable_seccomp()->set_profile_type(v1::SecurityProfile::RuntimeDefault);
  security->set_no_new_privs(true);
  *security->mutable_namespace_options() =
      PodConfig(pod).linux().security_context().namespace_options();
  for (const char* path :
       {"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}) {
    security->add_masked_paths(path);
  }
  for (const char* path :
       {"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}) {
    security->add_readonly_paths(path);
  }
  return config;
}

}  // namespace

struct CriClient::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : runtime(channel), image(channel) {}
  v1::RuntimeService::Stub runtime;
  v1::ImageService::Stub image;
};

CriClient::CriClient(std::unique_ptr<Stubs> stubs) : stubs_(std::move(stubs)) {}
CriClient::~CriClient() = default;

Result<std::unique_ptr<CriClient>> CriClient::Connect(const std::string& socket_path) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // Two clients in one process must not share a connection's backoff or settings.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel = grpc::CreateCustomChannel(StrCat("unix:", socket_path),
                                           grpc::InsecureChannelCredentials(), arguments);
  std::unique_ptr<CriClient> client(new CriClient(std::make_unique<Stubs>(channel)));
  ASSIGN_OR_RETURN(auto version, Call(client->stubs_->runtime, "Version",
                                      &v1::RuntimeService::Stub::Version, v1::VersionRequest()));
  client->version_ = StrCat(version.runtime_name(), " ", version.runtime_version());
  return client;
}

Status CriClient::CheckReady() {
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "Status", &v1::RuntimeService::Stub::Status,
                                       v1::StatusRequest()));
  for (const auto& condition : response.status().conditions()) {
    bool wanted = condition.type() == "RuntimeReady" || condition.type() == "NetworkReady";
    if (wanted && !condition.status()) {
      return Error(
          Code::kFailedPrecondition,
          StrCat("not ", condition.type(), ": ", condition.reason(), ": ", condition.message()));
    }
  }
  return Ok();
}

Result<std::string> CriClient::RunPodSandbox(const PodSpec& pod) {
  v1::RunPodSandboxRequest request;
  *request.mutable_config() = PodConfig(pod);
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "RunPodSandbox",
                                       &v1::RuntimeService::Stub::RunPodSandbox, request));
  return response.pod_sandbox_id();
}

Result<std::string> CriClient::CreateContainer(const PodSpec& pod, const std::string& pod_id,
                                               const std::string& image) {
  v1::CreateContainerRequest request;
  request.set_pod_sandbox_id(pod_id);
  *request.mutable_config() = ContainerOf(pod, image);
  *request.mutable_sandbox_config() = PodConfig(pod);
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "CreateContainer",
                                       &v1::RuntimeService::Stub::CreateContainer, request));
  return response.container_id();
}

Status CriClient::StartContainer(const std::string& id) {
  v1::StartContainerRequest request;
  request.set_container_id(id);
  return CallForStatus(stubs_->runtime, "StartContainer", &v1::RuntimeService::Stub::StartContainer,
                       request);
}

Status CriClient::StopContainer(const std::string& id) {
  v1::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(30);
  return CallForStatus(stubs_->runtime, "StopContainer", &v1::RuntimeService::Stub::StopContainer,
                       request);
}

Status CriClient::RemoveContainer(const std::string& id) {
  v1::RemoveContainerRequest request;
  request.set_container_id(id);
  return CallForStatus(stubs_->runtime, "RemoveContainer",
                       &v1::RuntimeService::Stub::RemoveContainer, request);
}

Status CriClient::StopPodSandbox(const std::string& id) {
  v1::StopPodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  return CallForStatus(stubs_->runtime, "StopPodSandbox", &v1::RuntimeService::Stub::StopPodSandbox,
                       request);
}

Status CriClient::RemovePodSandbox(const std::string& id) {
  v1::RemovePodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  return CallForStatus(stubs_->runtime, "RemovePodSandbox",
                       &v1::RuntimeService::Stub::RemovePodSandbox, request);
}

Status CriClient::ExecSync(const std::string& id, const std::vector<std::string>& command) {
  v1::ExecSyncRequest request;
  request.set_container_id(id);
  for (const std::string& word : command) request.add_cmd(word);
  request.set_timeout(60);
  ASSIGN_OR_RETURN(auto response,
                   Call(stubs_->runtime, "ExecSync", &v1::RuntimeService::Stub::ExecSync, request));
  if (response.exit_code() == 0) return Ok();
  return Error(Code::kInternal, StrCat("ExecSync: exit code ", response.exit_code(), ": ",
                                       Printable(response.stderr())));
}

Result<int> CriClient::ListPodSandbox() {
  ASSIGN_OR_RETURN(auto response,
                   Call(stubs_->runtime, "ListPodSandbox",
                        &v1::RuntimeService::Stub::ListPodSandbox, v1::ListPodSandboxRequest()));
  return response.items_size();
}

Result<int> CriClient::ListContainers() {
  ASSIGN_OR_RETURN(auto response,
                   Call(stubs_->runtime, "ListContainers",
                        &v1::RuntimeService::Stub::ListContainers, v1::ListContainersRequest()));
  return response.containers_size();
}

Result<int> CriClient::ListContainerStats() {
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "ListContainerStats",
                                       &v1::RuntimeService::Stub::ListContainerStats,
                                       v1::ListContainerStatsRequest()));
  return response.stats_size();
}

Result<int> CriClient::ListPodSandboxStats() {
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "ListPodSandboxStats",
                                       &v1::RuntimeService::Stub::ListPodSandboxStats,
                                       v1::ListPodSandboxStatsRequest()));
  return response.stats_size();
}

Result<int> CriClient::ListPodSandboxMetrics() {
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "ListPodSandboxMetrics",
                                       &v1::RuntimeService::Stub::ListPodSandboxMetrics,
                                       v1::ListPodSandboxMetricsRequest()));
  return response.pod_metrics_size();
}

Result<std::string> CriClient::PullImage(const std::string& image) {
  v1::PullImageRequest request;
  request.mutable_image()->set_image(image);
  ASSIGN_OR_RETURN(auto response,
                   Call(stubs_->image, "PullImage", &v1::ImageService::Stub::PullImage, request,
                        std::chrono::minutes(10)));
  return response.image_ref();
}

Status CriClient::RemoveImage(const std::string& image) {
  v1::RemoveImageRequest request;
  request.mutable_image()->set_image(image);
  return CallForStatus(stubs_->image, "RemoveImage", &v1::ImageService::Stub::RemoveImage, request);
}

Status CriClient::RemoveBenchPods() {
  v1::ListPodSandboxRequest request;
  (*request.mutable_filter()->mutable_label_selector())[kLabel] = "1";
  ASSIGN_OR_RETURN(auto response, Call(stubs_->runtime, "ListPodSandbox",
                                       &v1::RuntimeService::Stub::ListPodSandbox, request));
  Status first;
  for (const auto& pod : response.items()) {
    Status status = StopPodSandbox(pod.id());
    if (status.ok()) status = RemovePodSandbox(pod.id());
    if (!status.ok() && first.ok()) first = std::move(status);
  }
  return first;
}

}  // namespace berth::bench
