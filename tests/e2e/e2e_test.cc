#include "tests/e2e/e2e_test.h"

#include <poll.h>
#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"

namespace berth::e2e {

std::unique_ptr<Node> E2eTest::shared_;
std::string E2eTest::image_;

std::string HandlerName(const ::testing::TestParamInfo<const char*>& tested) {
  return tested.param[0] == 0 ? "BuiltIn" : tested.param;
}

std::string LogText(const std::string& log) {
  std::string text;
  for (std::string_view line : Split(log, '\n')) {
    const std::vector<std::string_view> fields = Split(line, ' ');
    if (fields.size() < 4) continue;
    const size_t prefix = fields[0].size() + fields[1].size() + fields[2].size() + 3;
    text += line.substr(prefix);
    if (fields[2] == "F") text += '\n';
  }
  return text;
}

std::string Ending::Text() const {
  return LogText(log);
}

void E2eTest::SetUpTestSuite() {
  if (shared_ != nullptr) return;
  auto node = Node::Start({});
  ASSERT_OK(node);
  auto image = TestImage();
  ASSERT_OK(image);
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(*image);
  ASSERT_OK((*node)->cri().Call(pull));
  shared_ = std::move(*node);
  image_ = *image;
  // Before the registry and the namespaces go.
  static const auto* at_end = ::testing::AddGlobalTestEnvironment([] {
    class EndOfNode : public ::testing::Environment {
      void TearDown() override { shared_.reset(); }
    };
    return new EndOfNode;
  }());
  (void)at_end;
}

void E2eTest::SetUp() {
  if (shared_ == nullptr) GTEST_FAIL() << "the shared node did not start";
}

void E2eTest::TearDown() {
  EXPECT_OK(node().RemoveAllPods());
}

rt::PodSandboxConfig E2eTest::PodConfig(const std::string& name) {
  rt::PodSandboxConfig config;
  config.mutable_metadata()->set_name(name);
  config.mutable_metadata()->set_namespace_("e2e");
  config.mutable_metadata()->set_uid(NewId().substr(0, 32));
  config.set_hostname(name);
  config.set_log_directory(StrCat(node().log_dir(), "/", config.metadata().uid()));
  auto* namespaces =
      config.mutable_linux()->mutable_security_context()->mutable_namespace_options();
  namespaces->set_pid(rt::CONTAINER);
  return config;
}

rt::ContainerConfig E2eTest::ProgramConfig(const std::string& program, const std::string& name) {
  rt::ContainerConfig config;
  config.mutable_metadata()->set_name(name);
  config.mutable_image()->set_image(image_);
  config.add_command(program);
  config.set_log_path(name + ".log");
  auto* security = config.mutable_linux()->mutable_security_context();
  security->mutable_namespace_options()->set_pid(rt::CONTAINER);
  security->mutable_seccomp()->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  return config;
}

rt::ContainerConfig E2eTest::ShellConfig(const std::string& script, const std::string& name) {
  rt::ContainerConfig config = ProgramConfig("sh", name);
  config.add_command("-c");
  config.add_command(script);
  return config;
}

Result<std::string> E2eTest::RunPod(const rt::PodSandboxConfig& config,
                                    const std::string& handler) {
  RETURN_IF_ERROR(MakeDirs(config.log_directory(), 0755));
  rt::RunPodSandboxRequest request;
  *request.mutable_config() = config;
  request.set_runtime_handler(handler);
  ASSIGN_OR_RETURN(const auto response, cri().Call(request));
  pods_[response.pod_sandbox_id()] = config;
  return response.pod_sandbox_id();
}

Result<std::string> E2eTest::Create(const std::string& pod, const rt::ContainerConfig& config) {
  rt::CreateContainerRequest request;
  request.set_pod_sandbox_id(pod);
  *request.mutable_config() = config;
  *request.mutable_sandbox_config() = pods_[pod];
  ASSIGN_OR_RETURN(const auto response, cri().Call(request));
  return response.container_id();
}

Result<rt::StartContainerResponse> E2eTest::StartIt(const std::string& container) {
  rt::StartContainerRequest request;
  request.set_container_id(container);
  return cri().Call(request);
}

Result<std::string> E2eTest::RunContainer(const std::string& pod,
                                          const rt::ContainerConfig& config) {
  ASSIGN_OR_RETURN(const std::string container, Create(pod, config), "create");
  RETURN_IF_ERROR(StartIt(container), "start");
  return container;
}

Result<rt::StopContainerResponse> E2eTest::Stop(const std::string& container, int64_t timeout_s) {
  rt::StopContainerRequest request;
  request.set_container_id(container);
  request.set_timeout(timeout_s);
  return cri().Call(request);
}

Result<rt::RemoveContainerResponse> E2eTest::Remove(const std::string& container) {
  rt::RemoveContainerRequest request;
  request.set_container_id(container);
  return cri().Call(request);
}

Result<rt::ContainerStatus> E2eTest::Status(const std::string& container) {
  rt::ContainerStatusRequest request;
  request.set_container_id(container);
  ASSIGN_OR_RETURN(auto response, cri().Call(request));
  return std::move(*response.mutable_status());
}

Result<rt::PodSandboxStatus> E2eTest::PodStatus(const std::string& pod) {
  rt::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(pod);
  ASSIGN_OR_RETURN(auto response, cri().Call(request));
  return std::move(*response.mutable_status());
}

Result<rt::ExecSyncResponse> E2eTest::Exec(const std::string& container,
                                           const std::vector<std::string>& command,
                                           int64_t timeout_s) {
  rt::ExecSyncRequest request;
  request.set_container_id(container);
  request.mutable_cmd()->Assign(command.begin(), command.end());
  request.set_timeout(timeout_s);
  return cri().Call(request);
}

std::string E2eTest::ShellIn(const std::string& container, const std::string& script) {
  auto response = Exec(container, {"sh", "-c", script});
  EXPECT_TRUE(response.ok()) << script << ": " << ErrorText(response);
  if (!response.ok()) return "";
  EXPECT_EQ(response->exit_code(), 0) << script << ": " << response->stderr();
  return response->stdout();
}

Result<rt::ContainerStatus> E2eTest::AwaitExit(const std::string& container, int64_t timeout_ms) {
  const int64_t until = MonotonicNs() + timeout_ms * 1'000'000;
  while (true) {
    ASSIGN_OR_RETURN(rt::ContainerStatus status, Status(container));
    if (status.state() == rt::CONTAINER_EXITED) return status;
    if (MonotonicNs() > until) {
      return Error(Code::kDeadlineExceeded,
                   StrCat("still ", rt::ContainerState_Name(status.state())));
    }
    (void)poll(nullptr, 0, 10);
  }
}

std::string E2eTest::Log(const std::string& container) {
  auto status = Status(container);
  EXPECT_OK(status);
  if (!status.ok()) return "";
  auto log = ReadFile(status->log_path(), 64 << 20);
  EXPECT_OK(log);
  return log.ok() ? *log : "";
}

bool E2eTest::AwaitLog(const std::string& container, const std::string& text, int64_t timeout_ms) {
  const int64_t until = MonotonicNs() + timeout_ms * 1'000'000;
  while (MonotonicNs() < until) {
    if (Log(container).find(text) != std::string::npos) return true;
    (void)poll(nullptr, 0, 10);
  }
  return false;
}

Result<Ending> E2eTest::RunToEnd(const rt::PodSandboxConfig& pod_config,
                                 const rt::ContainerConfig& config) {
  ASSIGN_OR_RETURN(const std::string pod, RunPod(pod_config), "run pod");
  ASSIGN_OR_RETURN(const std::string container, RunContainer(pod, config));
  Ending ending;
  ASSIGN_OR_RETURN(ending.status, AwaitExit(container));
  ending.log = Log(container);
  return ending;
}

Result<Ending> E2eTest::RunToEnd(const rt::ContainerConfig& config) {
  return RunToEnd(PodConfig(), config);
}

std::string E2eTest::Field(const std::string& text, const std::string& name) {
  for (std::string_view line : Split(text, '\n')) {
    if (line.starts_with(name + ":")) return std::string(Trim(line.substr(name.size() + 1)));
  }
  return "";
}

void InAPod::SetUp() {
  E2eTest::SetUp();
  auto pod = RunPod();
  ASSERT_OK(pod);
  pod_ = *pod;
}

void InAContainer::SetUp() {
  InAPod::SetUp();
  auto container = RunContainer(pod_, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  container_ = *container;
}

}  // namespace berth::e2e
