// An update of limits that fails at a late step: nothing of it is left.
#include <signal.h>

#include <thread>

#include "base/file.h"
#include "base/sqlite.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

// The limits of memory and processor time of a cgroup.
std::string LimitsOf(const std::string& cgroup) {
  const std::vector<std::string> files =
      HasCgroupV1()
          ? std::vector<std::string>{StrCat("memory", cgroup, "/memory.limit_in_bytes"),
                                     StrCat("cpu", cgroup, "/cpu.cfs_quota_us"),
                                     StrCat("cpu", cgroup, "/cpu.shares")}
          : std::vector<std::string>{StrCat(cgroup, "/memory.max"), StrCat(cgroup, "/cpu.max"),
                                     StrCat(cgroup, "/cpu.weight")};
  std::string limits;
  for (const std::string& file : files) {
    auto text = ReadFile(StrCat("/sys/fs/cgroup/", file));
    limits += StrCat(text.ok() ? std::string(Trim(*text)) : text.error().message(), " ");
  }
  return limits;
}

void ChangeAll(rt::LinuxContainerResources& limits, int64_t oom_score_adj) {
  limits.set_memory_limit_in_bytes(96 << 20);
  limits.set_cpu_period(100'000);
  limits.set_cpu_quota(70'000);
  limits.set_cpu_shares(333);
  limits.set_oom_score_adj(oom_score_adj);
}

class UpdateUndo : public InAPod {
 protected:
  static rt::UpdateContainerResourcesRequest Change(const std::string& container, int64_t score) {
    rt::UpdateContainerResourcesRequest request;
    request.set_container_id(container);
    ChangeAll(*request.mutable_linux(), score);
    return request;
  }
  // Two processes with a score of 100 and no other limit.
  rt::ContainerConfig Unlimited(const std::string& name) {
    rt::ContainerConfig config = ShellConfig("sleep 1000 & echo $! > /child; wait", name);
    config.mutable_linux()->mutable_resources()->set_oom_score_adj(100);
    return config;
  }
  static constexpr char kScores[] =
      "while ! [ -s /child ]; do sleep 0.05; done; cat /proc/1/oom_score_adj "
      "/proc/$(cat /child)/oom_score_adj /proc/self/oom_score_adj";
};

// Where records are kept nothing can be written: somebody else holds the database's lock.
TEST_F(UpdateUndo, WhatCannotBeRecordedDoesNotHold) {
  auto running = RunContainer(pod_, Unlimited("running"));
  ASSERT_OK(running);
  EXPECT_EQ(ShellIn(*running, kScores), "100\n100\n100\n");
  const std::string cgroup = node().CgroupOf(pod_, *running);
  const std::string limits = LimitsOf(cgroup), of_pod = LimitsOf(node().CgroupOf(pod_));
  const std::string status = Status(*running)->resources().ShortDebugString();

  rt::UpdatePodSandboxResourcesRequest of_the_pod;
  of_the_pod.set_pod_sandbox_id(pod_);
  ChangeAll(*of_the_pod.mutable_resources(), 0);
  auto database = Database::Open(node().dir() + "/root/meta.db");
  ASSERT_OK(database);
  ASSERT_OK(database->Execute("BEGIN IMMEDIATE"));
  std::thread container(
      [&] { EXPECT_FAILS(cri().Call(Change(*running, 321)), Code::kInternal, "database"); });
  EXPECT_FAILS(cri().Call(of_the_pod), Code::kInternal, "database");
  container.join();
  ASSERT_OK(database->Execute("ROLLBACK"));

  EXPECT_EQ(LimitsOf(cgroup), limits);
  EXPECT_EQ(LimitsOf(node().CgroupOf(pod_)), of_pod);
  EXPECT_EQ(ShellIn(*running, kScores), "100\n100\n100\n");
  EXPECT_EQ(Status(*running)->resources().ShortDebugString(), status);

  // Nothing is in the way of the next one.
  ASSERT_OK(cri().Call(Change(*running, 321)));
  EXPECT_EQ(ShellIn(*running, kScores), "321\n321\n321\n");
  ASSERT_OK(cri().Call(of_the_pod));
  EXPECT_NE(LimitsOf(node().CgroupOf(pod_)), of_pod);
}

// With a daemon of its own.
class UpdateOfOwnNode : public UpdateUndo {
 protected:
  // And a pod with a container that has a score of 100 and no other limit.
  void StartNode(NodeOptions options) {
    options.with_cni = false;
    auto node = Node::Start(options);
    ASSERT_OK(node);
    node_ = std::move(*node);
    rt::PullImageRequest pull;
    pull.mutable_image()->set_image(image());
    ASSERT_OK(own().Call(pull));
    rt::RunPodSandboxRequest run;
    *run.mutable_config() = PodConfig();
    run.mutable_config()->clear_log_directory();
    run.mutable_config()
        ->mutable_linux()
        ->mutable_security_context()
        ->mutable_namespace_options()
        ->set_network(rt::NODE);
    auto pod = own().Call(run);
    ASSERT_OK(pod);
    own_pod_ = pod->pod_sandbox_id();
    rt::CreateContainerRequest create;
    create.set_pod_sandbox_id(own_pod_);
    *create.mutable_config() = Unlimited("main");
    create.mutable_config()->clear_log_path();
    auto container = own().Call(create);
    ASSERT_OK(container);
    container_ = container->container_id();
  }
  void StartContainer() {
    rt::StartContainerRequest start;
    start.set_container_id(container_);
    ASSERT_OK(own().Call(start));
  }
  Cri& own() { return node_->cri(); }
  std::string Scores() {
    rt::ExecSyncRequest exec;
    exec.set_container_id(container_);
    for (const char* word : {"sh", "-c", kScores}) exec.add_cmd(word);
    auto shown = own().Call(exec);
    return shown.ok() ? shown->stdout() : shown.error().message();
  }
  std::string ContainerLimits() { return LimitsOf(node_->CgroupOf(own_pod_, container_)); }
  std::string PodLimits() { return LimitsOf(node_->CgroupOf(own_pod_)); }
  std::string Shown() {
    rt::ContainerStatusRequest ask;
    ask.set_container_id(container_);
    auto status = own().Call(ask);
    return status.ok() ? status->status().resources().ShortDebugString() : status.error().message();
  }
  rt::UpdatePodSandboxResourcesRequest ChangeOfPod() {
    rt::UpdatePodSandboxResourcesRequest request;
    request.set_pod_sandbox_id(own_pod_);
    ChangeAll(*request.mutable_resources(), 0);
    return request;
  }
  void Restart() {
    auto died = node_->StopDaemon(SIGKILL);
    ASSERT_OK(died);
    ASSERT_EQ(*died, 128 + SIGKILL);
    ASSERT_OK(node_->StartDaemon());
  }

  std::unique_ptr<Node> node_;
  std::string own_pod_, container_;
};

// Only CAP_SYS_RESOURCE may lower a score below where it began, and this daemon has it not.
TEST_F(UpdateOfOwnNode, AScoreThatTheKernelRefusesTakesTheLimitsBack) {
  StartNode({.launcher = {"/bin/sh", "-c",
                          "echo 0 > /proc/self/oom_score_adj; exec setpriv --bounding-set "
                          "-sys_resource --inh-caps -sys_resource \"$@\"",
                          "sh"}});
  ASSERT_FALSE(HasFatalFailure());
  StartContainer();
  EXPECT_EQ(Scores(), "100\n100\n100\n");
  const std::string limits = ContainerLimits(), shown = Shown();

  EXPECT_FAILS(own().Call(Change(container_, -500)), Code::kPermissionDenied, "oom_score_adj");
  EXPECT_EQ(ContainerLimits(), limits);
  EXPECT_EQ(Scores(), "100\n100\n100\n");
  EXPECT_EQ(Shown(), shown);
  EXPECT_OK(own().Call(Change(container_, 50)));
}

// The daemon dies in the middle of an update. The next one shows what holds, and what holds is what
// was before.
class CutOffUpdate : public UpdateOfOwnNode, public ::testing::WithParamInterface<const char*> {};

TEST_P(CutOffUpdate, IsTakenBack) {
  StartNode({.failpoint = GetParam()});
  ASSERT_FALSE(HasFatalFailure());
  StartContainer();
  EXPECT_EQ(Scores(), "100\n100\n100\n");
  const std::string limits = ContainerLimits(), of_pod = PodLimits(), shown = Shown();
  const bool is_pods = std::string_view(GetParam()).starts_with("update_pod");
  if (is_pods) {
    EXPECT_FALSE(own().Call(ChangeOfPod()).ok()) << "the failpoint was not reached";
  } else {
    EXPECT_FALSE(own().Call(Change(container_, 321)).ok()) << "the failpoint was not reached";
  }
  ASSERT_NO_FATAL_FAILURE(Restart());
  EXPECT_EQ(ContainerLimits(), limits);
  EXPECT_EQ(PodLimits(), of_pod);
  EXPECT_EQ(Scores(), "100\n100\n100\n");
  EXPECT_EQ(Shown(), shown);

  // Nothing is in the way of the next one, and that survives the next daemon's end.
  ASSERT_OK(own().Call(ChangeOfPod()));
  ASSERT_OK(own().Call(Change(container_, 321)));
  const std::string new_limits = ContainerLimits(), new_of_pod = PodLimits(), new_shown = Shown();
  EXPECT_NE(new_limits, limits);
  EXPECT_NE(new_of_pod, of_pod);
  ASSERT_NO_FATAL_FAILURE(Restart());
  EXPECT_EQ(ContainerLimits(), new_limits);
  EXPECT_EQ(PodLimits(), new_of_pod);
  EXPECT_EQ(Scores(), "321\n321\n321\n");
  EXPECT_EQ(Shown(), new_shown);
}

INSTANTIATE_TEST_SUITE_P(Failpoints, CutOffUpdate,
                         ::testing::Values("update_container.recorded", "update_container.limits",
                                           "update_container.done", "update_pod.recorded",
                                           "update_pod.limits"),
                         [](const auto& tested) {
                           std::string name(tested.param);
                           name[name.find('.')] = '_';
                           return name;
                         });

TEST_F(UpdateOfOwnNode, CutOffBeforeTheStartItDoesNotHoldForTheStart) {
  StartNode({.failpoint = "update_container.done"});
  ASSERT_FALSE(HasFatalFailure());
  const std::string shown = Shown();
  EXPECT_FALSE(own().Call(Change(container_, 321)).ok()) << "the failpoint was not reached";
  ASSERT_NO_FATAL_FAILURE(Restart());
  EXPECT_EQ(Shown(), shown);
  StartContainer();
  EXPECT_EQ(Scores(), "100\n100\n100\n");
}

}  // namespace
}  // namespace berth::e2e
