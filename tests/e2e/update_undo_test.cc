// An update of limits that fails at a late step: nothing of it is left.
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

// Only CAP_SYS_RESOURCE may lower a score below where it began, and this daemon has it not.
TEST_F(UpdateUndo, AScoreThatTheKernelRefusesTakesTheLimitsBack) {
  auto node = Node::Start(
      {.with_cni = false,
       .launcher = {"/bin/sh", "-c",
                    "echo 0 > /proc/self/oom_score_adj; exec setpriv --bounding-set -sys_resource "
                    "--inh-caps -sys_resource \"$@\"",
                    "sh"}});
  ASSERT_OK(node);
  Cri& cri = (*node)->cri();
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(image());
  ASSERT_OK(cri.Call(pull));
  rt::RunPodSandboxRequest run;
  *run.mutable_config() = PodConfig();
  run.mutable_config()->clear_log_directory();
  run.mutable_config()
      ->mutable_linux()
      ->mutable_security_context()
      ->mutable_namespace_options()
      ->set_network(rt::NODE);
  auto pod = cri.Call(run);
  ASSERT_OK(pod);
  rt::CreateContainerRequest create;
  create.set_pod_sandbox_id(pod->pod_sandbox_id());
  *create.mutable_config() = Unlimited("main");
  create.mutable_config()->clear_log_path();
  auto container = cri.Call(create);
  ASSERT_OK(container);
  const std::string& id = container->container_id();
  rt::StartContainerRequest start;
  start.set_container_id(id);
  ASSERT_OK(cri.Call(start));
  rt::ExecSyncRequest exec;
  exec.set_container_id(id);
  for (const char* word : {"sh", "-c", kScores}) exec.add_cmd(word);
  EXPECT_EQ(cri.Call(exec)->stdout(), "100\n100\n100\n");
  const std::string limits = LimitsOf((*node)->CgroupOf(pod->pod_sandbox_id(), id));

  EXPECT_FAILS(cri.Call(Change(id, -500)), Code::kPermissionDenied, "oom_score_adj");
  EXPECT_EQ(LimitsOf((*node)->CgroupOf(pod->pod_sandbox_id(), id)), limits);
  EXPECT_EQ(cri.Call(exec)->stdout(), "100\n100\n100\n");
  rt::ContainerStatusRequest ask;
  ask.set_container_id(id);
  EXPECT_EQ(cri.Call(ask)->status().resources().linux().cpu_quota(), 0);
  EXPECT_OK(cri.Call(Change(id, 50)));
}

}  // namespace
}  // namespace berth::e2e
