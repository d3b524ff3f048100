// A daemon that ends, and the next one that finds everything again.
#include <signal.h>

#include <optional>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"
#include "tests/testing/fake_registry.h"

namespace berth::e2e {
namespace {

class Restart : public E2eTest, public ::testing::WithParamInterface<int> {};

TEST_P(Restart, TheSameAnswersAndNoContainerNotices) {
  rt::PodSandboxConfig pod_config = PodConfig();
  (*pod_config.mutable_labels())["a"] = "b";
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto running = RunContainer(*pod, ShellConfig("i=0; while :; do i=$((i+1)); echo $i; "
                                                "sleep 0.05; done",
                                                "running"));
  ASSERT_OK(running);
  auto created = Create(*pod, ShellConfig("echo late", "created"));
  ASSERT_OK(created);
  auto exited = RunContainer(*pod, ShellConfig("exit 4", "exited"));
  ASSERT_OK(exited);
  ASSERT_OK(AwaitExit(*exited));
  auto leaves = RunContainer(*pod, ShellConfig("sleep 0.7; echo bye; exit 6", "leaves"));
  ASSERT_OK(leaves);

  ShellIn(*running, "sleep 1000 >/dev/null 2>&1 & echo $! >/left-by-an-exec");
  std::vector<std::string> before;
  auto answers = [&] {
    std::vector<std::string> all;
    for (const std::string& id : {*running, *created, *exited}) {
      auto status = Status(id);
      EXPECT_OK(status);
      all.push_back(status.ok() ? status->DebugString() : "");
    }
    auto status = PodStatus(*pod);
    EXPECT_OK(status);
    all.push_back(status.ok() ? status->DebugString() : "");
    return all;
  };
  before = answers();
  auto code = node().StopDaemon(GetParam());
  ASSERT_OK(code);
  EXPECT_EQ(*code, GetParam() == SIGTERM ? 0 : 128 + GetParam());
  usleep(1'200'000);  // `leaves` exits while no daemon is there
  ASSERT_OK(node().StartDaemon());

  EXPECT_EQ(answers(), before);
  auto left = AwaitExit(*leaves, 5000);
  ASSERT_OK(left);
  EXPECT_EQ(left->exit_code(), 6);
  EXPECT_EQ(LogText(Log(*leaves)), "bye\n");

  // Nothing is missing in the log of the one that went on, and it still answers.
  EXPECT_EQ(ShellIn(*running, "kill -0 $(cat /left-by-an-exec) && echo lives"), "lives\n");
  ASSERT_OK(Stop(*running));
  const std::string text = LogText(Log(*running));
  const std::vector<std::string_view> lines = Split(text, '\n');
  ASSERT_GT(lines.size(), 10u);
  for (size_t i = 0; i + 1 < lines.size(); ++i) ASSERT_EQ(lines[i], StrCat(i + 1));
  ASSERT_OK(StartIt(*created));
  EXPECT_EQ(AwaitExit(*created)->exit_code(), 0);
  auto next = RunContainer(*pod, ShellConfig("true", "next"));
  ASSERT_OK(next);
}

INSTANTIATE_TEST_SUITE_P(Signals, Restart, ::testing::Values(SIGTERM, SIGKILL),
                         [](const auto& tested) {
                           return std::string(tested.param == SIGTERM ? "Term" : "Kill");
                         });

// At each failpoint: the daemon dies there as by kill -9, the next one finishes or undoes what was
// begun, the same request works, and after removal nothing is left.
class Crash : public ::testing::TestWithParam<std::string_view> {
 protected:
  // The id; nothing if something fails.
  static std::optional<std::string> CreateAndStart(Node& node,
                                                   const rt::CreateContainerRequest& create) {
    auto container = node.cri().Call(create);
    if (!container.ok()) return std::nullopt;
    rt::ContainerStatusRequest ask;
    ask.set_container_id(container->container_id());
    auto status = node.cri().Call(ask);
    if (!status.ok()) return std::nullopt;
    if (status->status().state() == rt::CONTAINER_CREATED) {
      rt::StartContainerRequest start;
      start.set_container_id(container->container_id());
      if (!node.cri().Call(start).ok()) return std::nullopt;
    }
    return container->container_id();
  }
  static bool UpdateLimits(Node& node, const std::string& pod, const std::string& container) {
    rt::UpdateContainerResourcesRequest of_container;
    of_container.set_container_id(container);
    of_container.mutable_linux()->set_oom_score_adj(321);
    rt::UpdatePodSandboxResourcesRequest of_pod;
    of_pod.set_pod_sandbox_id(pod);
    if (HasController("cpu")) {
      of_container.mutable_linux()->set_cpu_shares(333);
      of_pod.mutable_resources()->set_cpu_shares(444);
    }
    // One whose first start was cut off has exited.
    auto updated = node.cri().Call(of_container);
    if (!updated.ok() && updated.code() != Code::kFailedPrecondition) return false;
    return node.cri().Call(of_pod).ok();
  }
  // A pull, a pod, a container, new limits, and its removal; false as soon as something fails. In a
  // pod with a user namespace the container has an image as a volume, too.
  static bool RunAll(Node& node, const rt::PodSandboxConfig& pod_config, const std::string& image) {
    rt::PullImageRequest pull;
    pull.mutable_image()->set_image(image);
    if (!node.cri().Call(pull).ok()) return false;
    rt::RunPodSandboxRequest run;
    *run.mutable_config() = pod_config;
    auto pod = node.cri().Call(run);
    if (pod.code() == Code::kAlreadyExists) {  // it was being stopped, and that was finished
      if (!node.RemoveAllPods().ok()) return false;
      pod = node.cri().Call(run);
    }
    if (!pod.ok()) return false;
    rt::CreateContainerRequest create;
    create.set_pod_sandbox_id(pod->pod_sandbox_id());
    *create.mutable_sandbox_config() = pod_config;
    create.mutable_config()->mutable_metadata()->set_name("main");
    create.mutable_config()->mutable_image()->set_image(image);
    for (const char* word : {"sleep", "1000"}) create.mutable_config()->add_command(word);
    create.mutable_config()->set_log_path("main.log");
    if (pod_config.linux().security_context().namespace_options().has_userns_options()) {
      rt::Mount* volume = create.mutable_config()->add_mounts();
      volume->mutable_image()->set_image(image);
      volume->set_container_path("/volume");
      volume->set_readonly(true);
    }
    const auto container = CreateAndStart(node, create);
    if (!container || !UpdateLimits(node, pod->pod_sandbox_id(), *container)) return false;
    rt::RemoveContainerRequest remove_container;
    remove_container.set_container_id(*container);
    if (!node.cri().Call(remove_container).ok()) return false;
    // The second one goes with its pod.
    if (!CreateAndStart(node, create)) return false;
    rt::RemovePodSandboxRequest remove_pod;
    remove_pod.set_pod_sandbox_id(pod->pod_sandbox_id());
    return node.cri().Call(remove_pod).ok();
  }
  // With the pod's log directory still to be set.
  void CrashAndRecover(rt::PodSandboxConfig config);
};

void Crash::CrashAndRecover(rt::PodSandboxConfig config) {
  auto image = TestImage();
  ASSERT_OK(image);
  auto node = Node::Start({.failpoint = std::string(GetParam())});
  ASSERT_OK(node);
  config.mutable_metadata()->set_name("crash");
  config.mutable_metadata()->set_namespace_("e2e");
  config.mutable_metadata()->set_uid("uid");
  config.set_log_directory((*node)->log_dir());
  EXPECT_FALSE(RunAll(**node, config, *image)) << "the failpoint was not reached";
  auto died = (*node)->StopDaemon(SIGKILL);
  ASSERT_OK(died);
  EXPECT_EQ(*died, 128 + SIGKILL);
  ASSERT_OK((*node)->StartDaemon());
  EXPECT_TRUE(RunAll(**node, config, *image)) << "the retry failed";
  ASSERT_OK((*node)->RemoveAllPods());
  EXPECT_EQ((*node)->Remains(), std::vector<std::string>());
}

TEST_P(Crash, IsRecoveredFrom) {
  CrashAndRecover({});
}

std::string NameOf(const ::testing::TestParamInfo<std::string_view>& tested) {
  std::string name(tested.param);
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}
INSTANTIATE_TEST_SUITE_P(Failpoints, Crash, ::testing::ValuesIn(kFailpoints), NameOf);

// Of three layers the first has come when the daemon dies: it is not asked for again.
TEST(InterruptedPull, GoesOnWhereItWas) {
  testing::TestImage source;
  for (const char* name : {"a", "b", "c"}) {
    source.layers.push_back({testing::MakeTar({{.path = name, .content = name}})});
  }
  const testing::BuiltImage built = testing::BuildImage(source);
  testing::FakeRegistry registry;
  registry.Add("v1", built);
  auto node = Node::Start(
      {.failpoint = "pull.layer_committed", .config = "[image]\nmax_parallel_layers = 1\n"});
  ASSERT_OK(node);
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(StrCat(registry.address(), "/app:v1"));
  EXPECT_FALSE((*node)->cri().Call(pull).ok()) << "the failpoint was not reached";
  ASSERT_OK((*node)->StopDaemon(SIGKILL));
  ASSERT_OK((*node)->StartDaemon());
  ASSERT_OK((*node)->cri().Call(pull));
  for (const testing::Blob& layer : built.layers) {
    EXPECT_EQ(registry.Count("GET", layer.digest), 1) << layer.digest;
  }
}

// Where the two differ: what a user namespace and volumes of images leave half made.
class CrashInAUserNamespace : public Crash {};

TEST_P(CrashInAUserNamespace, IsRecoveredFrom) {
  rt::PodSandboxConfig config;
  rt::UserNamespace* userns = config.mutable_linux()
                                  ->mutable_security_context()
                                  ->mutable_namespace_options()
                                  ->mutable_userns_options();
  userns->set_mode(rt::POD);
  for (rt::IDMapping* ids : {userns->add_uids(), userns->add_gids()}) {
    ids->set_host_id(65536);
    ids->set_length(65536);
  }
  CrashAndRecover(config);
}

INSTANTIATE_TEST_SUITE_P(Failpoints, CrashInAUserNamespace,
                         ::testing::Values("run_pod.namespaces", "run_pod.files",
                                           "create_container.snapshot", "start_container.shim",
                                           "start_container.launched"),
                         NameOf);

TEST(InterruptedStop, EndsTheContainersBeforeThePodIsStopped) {
  auto image = TestImage();
  ASSERT_OK(image);
  auto node = Node::Start({.failpoint = "stop_pod.recorded"});
  ASSERT_OK(node);
  Cri& cri = (*node)->cri();
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(*image);
  ASSERT_OK(cri.Call(pull));
  rt::RunPodSandboxRequest run;
  run.mutable_config()->mutable_metadata()->set_name("stopped");
  run.mutable_config()->mutable_metadata()->set_namespace_("e2e");
  run.mutable_config()->mutable_metadata()->set_uid("uid");
  auto pod = cri.Call(run);
  ASSERT_OK(pod);
  rt::CreateContainerRequest create;
  create.set_pod_sandbox_id(pod->pod_sandbox_id());
  *create.mutable_sandbox_config() = run.config();
  create.mutable_config()->mutable_metadata()->set_name("main");
  create.mutable_config()->mutable_image()->set_image(*image);
  for (const char* word : {"sleep", "1000"}) create.mutable_config()->add_command(word);
  auto container = cri.Call(create);
  ASSERT_OK(container);
  rt::StartContainerRequest start;
  start.set_container_id(container->container_id());
  ASSERT_OK(cri.Call(start));
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(pod->pod_sandbox_id());
  EXPECT_FALSE(cri.Call(stop).ok()) << "the failpoint was not reached";
  ASSERT_OK((*node)->StopDaemon(SIGKILL));
  ASSERT_OK((*node)->StartDaemon());
  rt::ContainerStatusRequest ask;
  ask.set_container_id(container->container_id());
  auto status = (*node)->cri().Call(ask);
  ASSERT_OK(status);
  EXPECT_EQ(status->status().state(), rt::CONTAINER_EXITED);
  EXPECT_EQ(status->status().exit_code(), 137);
  ASSERT_OK((*node)->RemoveAllPods());
  EXPECT_EQ((*node)->Remains(), std::vector<std::string>());
}

}  // namespace
}  // namespace berth::e2e
