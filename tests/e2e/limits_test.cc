// Limits of containers while they live, limits of pods as a whole, and the node's range of
// addresses.
#include <fcntl.h>
#include <unistd.h>

#include <map>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

// A file of the memory controller, by its path below the hierarchy.
std::string MemoryLimitOf(const std::string& cgroup) {
  auto text =
      ReadFile(HasCgroupV1() ? StrCat("/sys/fs/cgroup/memory", cgroup, "/memory.limit_in_bytes")
                             : StrCat("/sys/fs/cgroup", cgroup, "/memory.max"));
  return text.ok() ? std::string(Trim(*text)) : text.error().message();
}

class Limits : public InAPod {
 protected:
  Result<rt::UpdateContainerResourcesResponse> Update(
      const std::string& container, void (*change)(rt::LinuxContainerResources&)) {
    rt::UpdateContainerResourcesRequest request;
    request.set_container_id(container);
    change(*request.mutable_linux());
    return cri().Call(request);
  }
};

TEST_F(Limits, TheOomScoreOfALivingContainerChangesForAllItsProcesses) {
  rt::ContainerConfig config = ShellConfig("sleep 1000 & echo $! > /child; wait");
  config.mutable_linux()->mutable_resources()->set_oom_score_adj(100);
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  ShellIn(*container, "while ! [ -s /child ]; do sleep 0.05; done");
  ASSERT_OK(Update(*container, [](auto& limits) { limits.set_oom_score_adj(321); }));
  EXPECT_EQ(ShellIn(*container, "cat /proc/1/oom_score_adj /proc/$(cat /child)/oom_score_adj"),
            "321\n321\n");
  EXPECT_EQ(ShellIn(*container, "cat /proc/self/oom_score_adj"), "321\n") << "of a later exec";
  EXPECT_EQ(Status(*container)->resources().linux().oom_score_adj(), 321);
}

TEST_F(Limits, AnUpdateBeforeTheStartHoldsFromTheStart) {
  auto container = Create(pod_, ShellConfig("cat /proc/self/oom_score_adj; sleep 1000"));
  ASSERT_OK(container);
  ASSERT_OK(Update(*container, [](auto& limits) {
    limits.set_oom_score_adj(77);
    limits.set_memory_limit_in_bytes(48 << 20);
  }));
  ASSERT_OK(StartIt(*container));
  ASSERT_TRUE(AwaitLog(*container, "77"));
  EXPECT_EQ(MemoryLimitOf(node().CgroupOf(pod_, *container)), "50331648");
}

TEST_F(Limits, FieldsThatAnUpdateLeavesOutStay) {
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  auto* limits = config.mutable_linux()->mutable_resources();
  limits->set_memory_limit_in_bytes(64 << 20);
  limits->set_cpu_shares(512);
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  ASSERT_OK(Update(*container, [](auto& change) {
    change.set_cpu_period(100'000);
    change.set_cpu_quota(70'000);
  }));
  const auto after = Status(*container)->resources().linux();
  EXPECT_EQ(after.memory_limit_in_bytes(), 64 << 20);
  EXPECT_EQ(after.cpu_shares(), 512);
  EXPECT_EQ(after.cpu_quota(), 70'000);
  EXPECT_EQ(MemoryLimitOf(node().CgroupOf(pod_, *container)), "67108864");
}

TEST_F(Limits, ALimitOfProcessesHolds) {
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  (*config.mutable_linux()->mutable_resources()->mutable_unified())["pids.max"] = "20";
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  auto exec = Exec(*container, {"sh", "-c", "for i in $(seq 40); do sleep 30 & done"}, 20);
  ASSERT_OK(exec);
  EXPECT_NE(exec->exit_code(), 0);
  EXPECT_NE(exec->stderr().find("fork"), std::string::npos) << exec->stderr();
}

struct Refused {
  const char* name;
  Code code;
  const char* says;
  void (*ask)(rt::LinuxContainerResources&);
};

std::ostream& operator<<(std::ostream& out, const Refused& refused) {
  return out << refused.name;
}

class RefusedLimits : public Limits, public ::testing::WithParamInterface<Refused> {};

// At the creation, in an update of what runs, and for a pod: with the same words and no effect.
TEST_P(RefusedLimits, NameTheField) {
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  GetParam().ask(*config.mutable_linux()->mutable_resources());
  EXPECT_FAILS(Create(pod_, config), GetParam().code, GetParam().says);

  rt::ContainerConfig plain = ShellConfig("sleep 1000", "plain");
  plain.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  auto container = RunContainer(pod_, plain);
  ASSERT_OK(container);
  const std::string before = Status(*container)->resources().ShortDebugString();
  EXPECT_FAILS(Update(*container, GetParam().ask), GetParam().code, GetParam().says);
  EXPECT_EQ(Status(*container)->resources().ShortDebugString(), before);
  EXPECT_EQ(MemoryLimitOf(node().CgroupOf(pod_, *container)), "67108864");

  rt::UpdatePodSandboxResourcesRequest pod;
  pod.set_pod_sandbox_id(pod_);
  GetParam().ask(*pod.mutable_resources());
  EXPECT_FAILS(cri().Call(pod), GetParam().code, GetParam().says);
  EXPECT_FAILS(cri().Call(pod), GetParam().code, "resources");
  pod.mutable_overhead()->Swap(pod.mutable_resources());
  EXPECT_FAILS(cri().Call(pod), GetParam().code, "overhead");
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusedLimits,
    ::testing::Values(
        Refused{"Period", Code::kInvalidArgument, "cpu_period",
                [](auto& limits) { limits.set_cpu_period(10); }},
        Refused{"Quota", Code::kInvalidArgument, "cpu_quota",
                [](auto& limits) { limits.set_cpu_quota(INT64_MAX); }},
        Refused{"Shares", Code::kInvalidArgument, "cpu_shares",
                [](auto& limits) { limits.set_cpu_shares(-5); }},
        Refused{"Memory", Code::kInvalidArgument, "memory_limit_in_bytes",
                [](auto& limits) { limits.set_memory_limit_in_bytes(INT64_MIN); }},
        Refused{"SwapBelowMemory", Code::kInvalidArgument, "memory_swap_limit_in_bytes",
                [](auto& limits) {
                  limits.set_memory_limit_in_bytes(64 << 20);
                  limits.set_memory_swap_limit_in_bytes(32 << 20);
                }},
        Refused{"OomScore", Code::kInvalidArgument, "oom_score_adj",
                [](auto& limits) { limits.set_oom_score_adj(1001); }},
        Refused{"Cpus", Code::kInvalidArgument, "cpuset_cpus",
                [](auto& limits) { limits.set_cpuset_cpus("3-1"); }},
        Refused{"Mems", Code::kInvalidArgument, "cpuset_mems",
                [](auto& limits) { limits.set_cpuset_mems("0\n1"); }},
        Refused{"PageSize", Code::kInvalidArgument, "hugepage_limits",
                [](auto& limits) { limits.add_hugepage_limits()->set_page_size("../2MB"); }},
        Refused{"NoPageSize", Code::kInvalidArgument, "hugepage_limits",
                [](auto& limits) { limits.add_hugepage_limits()->set_limit(1); }},
        Refused{"UnifiedPath", Code::kInvalidArgument, "unified",
                [](auto& limits) { (*limits.mutable_unified())["../memory.max"] = "1"; }},
        Refused{"UnifiedProcs", Code::kInvalidArgument, "unified",
                [](auto& limits) { (*limits.mutable_unified())["cgroup.procs"] = "1"; }},
        Refused{"UnifiedLines", Code::kInvalidArgument, "unified",
                [](auto& limits) { (*limits.mutable_unified())["memory.high"] = "1\n2"; }}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(Limits, UnifiedIsRefusedWithCgroupV1) {
  if (!HasCgroupV1()) GTEST_SKIP() << "this machine has cgroup v2";
  rt::ContainerConfig config = ShellConfig("true");
  (*config.mutable_linux()->mutable_resources()->mutable_unified())["memory.high"] = "1000000";
  EXPECT_FAILS(Create(pod_, config), Code::kFailedPrecondition, "memory.high");
}

// kubelet sends a limit of 0 for every page size that the node has.
TEST_F(Limits, HugepagesOfZeroAreFineWithoutTheControllerAndOthersNameIt) {
  if (access("/sys/fs/cgroup/hugetlb", F_OK) == 0 || !HasCgroupV1()) {
    GTEST_SKIP() << "this machine has the controller";
  }
  rt::ContainerConfig config = ShellConfig("true");
  auto* limit = config.mutable_linux()->mutable_resources()->add_hugepage_limits();
  limit->set_page_size("2MB");
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  EXPECT_EQ(AwaitExit(*container)->exit_code(), 0);
  limit->set_limit(2 << 20);
  config.mutable_metadata()->set_name("huge");
  EXPECT_FAILS(Create(pod_, config), Code::kFailedPrecondition, "hugetlb");
}

class PodLimits : public E2eTest {};

TEST_F(PodLimits, ResourcesAndOverheadAreThePodsCgroupsAndCanBeChanged) {
  rt::PodSandboxConfig config = PodConfig();
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  config.mutable_linux()->mutable_overhead()->set_memory_limit_in_bytes(16 << 20);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  const std::string cgroup = node().CgroupOf(*pod);
  EXPECT_EQ(MemoryLimitOf(cgroup), StrCat(80 << 20));

  rt::UpdatePodSandboxResourcesRequest update;
  update.set_pod_sandbox_id(*pod);
  update.mutable_resources()->set_memory_limit_in_bytes(128 << 20);
  ASSERT_OK(cri().Call(update));
  EXPECT_EQ(MemoryLimitOf(cgroup), StrCat(144 << 20));
  update.clear_resources();
  update.mutable_overhead()->set_memory_limit_in_bytes(32 << 20);
  ASSERT_OK(cri().Call(update));
  EXPECT_EQ(MemoryLimitOf(cgroup), StrCat(160 << 20));

  // What the pod may have, its containers may not exceed together.
  update.mutable_resources()->set_memory_limit_in_bytes(1 << 20);
  update.mutable_overhead()->set_memory_limit_in_bytes(15 << 20);
  ASSERT_OK(cri().Call(update));
  auto container = RunContainer(*pod, ShellConfig("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"));
  ASSERT_OK(container);
  auto status = AwaitExit(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->exit_code(), 137);
  ASSERT_OK(node().RemoveAllPods());
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

TEST_F(PodLimits, ACgroupOfSomebodyElsesStaysHis) {
  rt::PodSandboxConfig config = PodConfig();
  const std::string parent = node().PodParent("kubelets");
  config.mutable_linux()->set_cgroup_parent(parent);
  config.mutable_linux()->mutable_overhead()->set_memory_limit_in_bytes(16 << 20);
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  ASSERT_OK(RunContainer(*pod, ShellConfig("sleep 1000")));
  const std::string before = MemoryLimitOf(parent);
  rt::UpdatePodSandboxResourcesRequest update;
  update.set_pod_sandbox_id(*pod);
  update.mutable_resources()->set_memory_limit_in_bytes(128 << 20);
  EXPECT_OK(cri().Call(update));
  EXPECT_EQ(MemoryLimitOf(parent), before);
}

TEST_F(PodLimits, OnlyOfAPodThatIsReady) {
  rt::UpdatePodSandboxResourcesRequest update;
  EXPECT_FAILS(cri().Call(update), Code::kInvalidArgument, "pod_sandbox_id");
  update.set_pod_sandbox_id(std::string(64, '0'));
  EXPECT_FAILS(cri().Call(update), Code::kNotFound, "0000");
  auto pod = RunPod();
  ASSERT_OK(pod);
  update.set_pod_sandbox_id(*pod);
  EXPECT_OK(cri().Call(update));
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(*pod);
  ASSERT_OK(cri().Call(stop));
  EXPECT_FAILS(cri().Call(update), Code::kFailedPrecondition, "not ready");
}

class RuntimeConfigUpdates : public E2eTest {
 protected:
  static rt::UpdateRuntimeConfigRequest With(const std::string& cidr) {
    rt::UpdateRuntimeConfigRequest request;
    request.mutable_runtime_config()->mutable_network_config()->set_pod_cidr(cidr);
    return request;
  }
};

TEST_F(RuntimeConfigUpdates, WithoutATemplateTheyAreAccepted) {
  EXPECT_OK(cri().Call(rt::UpdateRuntimeConfigRequest()));
  EXPECT_OK(cri().Call(With("")));
  EXPECT_OK(cri().Call(With("10.244.7.0/24,fd00:7::/64")));
  EXPECT_FAILS(cri().Call(With("10.244.7.0/99")), Code::kInvalidArgument,
               "runtime_config.network_config.pod_cidr");
}

TEST_F(RuntimeConfigUpdates, TheRangeGoesToTheTemplateAndPodsGetAddressesOfIt) {
  testing::TempDir dir;
  const std::string path = dir / "template";
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, path,
                              R"({"cniVersion":"1.0.0","name":"templated","plugins":[
      {"type":"bridge","bridge":"e2etemplate","ipam":
        {"type":"host-local","ranges":{{.PodCIDRRanges}},"routes":{{.Routes}}}}]})",
                              0644));
  auto node =
      Node::Start({.with_cni = false, .config = StrCat("[cni]\nconf_template = \"", path, "\"\n")});
  ASSERT_OK(node);
  rt::RunPodSandboxRequest run;
  *run.mutable_config() = PodConfig();
  run.mutable_config()->clear_log_directory();
  EXPECT_FAILS((*node)->cri().Call(run), Code::kUnavailable, "");
  ASSERT_OK((*node)->cri().Call(With("10.97.3.0/24")));
  bool is_ready = false;
  for (int i = 0; i < 200 && !is_ready; ++i) {
    usleep(50'000);
    auto status = (*node)->cri().Call(rt::StatusRequest());
    ASSERT_OK(status);
    for (const auto& condition : status->status().conditions()) {
      if (condition.type() == "NetworkReady") is_ready = condition.status();
    }
  }
  ASSERT_TRUE(is_ready);
  auto pod = (*node)->cri().Call(run);
  ASSERT_OK(pod);
  rt::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(pod->pod_sandbox_id());
  auto status = (*node)->cri().Call(request);
  ASSERT_OK(status);
  EXPECT_TRUE(status->status().network().ip().starts_with("10.97.3."))
      << status->status().network().ip();
}

}  // namespace
}  // namespace berth::e2e
