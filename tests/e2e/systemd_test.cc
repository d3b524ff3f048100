// What a daemon whose cgroups systemd makes owes to the machine. hack/test --vm.
#include "base/file.h"
#include "base/process.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Systemd : public E2eTest {
 protected:
  void SetUp() override {
    if (!UsesSystemd()) GTEST_SKIP() << "the cgroupfs driver is tested";
    E2eTest::SetUp();
  }
  static std::string Systemctl(std::vector<std::string> args) {
    args.insert(args.begin(), "systemctl");
    auto output = RunProgram(Context::WithTimeoutMs(60'000), Program("/bin/systemctl", args), "");
    EXPECT_OK(output);
    return output.ok() ? std::string(Trim(output->out)) : "";
  }
  static std::string Property(const std::string& container, const std::string& name) {
    return Systemctl({"show", "-p", name, "--value", StrCat("berth-", container, ".scope")});
  }
};

// runc and crun take unit properties from annotations, which are the pod author's.
TEST_F(Systemd, NoAnnotationReachesAUnitProperty) {
  rt::PodSandboxConfig pod_config = PodConfig();
  (*pod_config.mutable_annotations())["org.systemd.property.MemoryMax"] = "uint64 4096";
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  (*config.mutable_annotations())["org.systemd.property.MemoryMax"] = "uint64 4096";
  (*config.mutable_annotations())["org.systemd.property.Description"] = "'mine'";
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  EXPECT_EQ(Property(*container, "MemoryMax"), "infinity");
  EXPECT_EQ(Property(*container, "Description"), "Berth container");
}

TEST_F(Systemd, ContainersAreInTheSliceThatKubeletNames) {
  rt::PodSandboxConfig config = PodConfig();
  const std::string parent = node().PodParent("kubepod");
  const std::string slice = parent.substr(parent.rfind('/') + 1);
  for (const std::string& name : {parent, slice}) {
    config.mutable_linux()->set_cgroup_parent(name);
    config.mutable_metadata()->set_attempt(config.metadata().attempt() + 1);
    auto pod = RunPod(config);
    ASSERT_OK(pod);
    auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
    ASSERT_OK(container);
    EXPECT_EQ(Property(*container, "Slice"), slice);
  }
  config.mutable_linux()->set_cgroup_parent("/kubepods/pod1");
  config.mutable_metadata()->set_attempt(99);
  EXPECT_FAILS(RunPod(config), Code::kInvalidArgument, "linux.cgroup_parent");
}

// The daemon's own unit may be limited and may run out of memory.
TEST_F(Systemd, TheShimIsInTheContainersScope) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  const std::string scope = StrCat("berth-", *container, ".scope");
  auto shims =
      ReadFile(StrCat("/sys/fs/cgroup", node().CgroupOf(*pod), "/", scope, "/shim/cgroup.procs"));
  ASSERT_OK(shims);
  const auto pid = ParseNumber<pid_t>(Trim(*shims));
  ASSERT_TRUE(pid.has_value()) << *shims;
  auto score = ReadFile(StrCat("/proc/", *pid, "/oom_score_adj"));
  ASSERT_OK(score);
  EXPECT_EQ(Trim(*score), "-999");
}

TEST_F(Systemd, ACrashOfTheDaemonLeavesScopesAlone) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  ASSERT_OK(node().StopDaemon(SIGKILL));
  ASSERT_OK(node().StartDaemon());
  EXPECT_EQ(Status(*container)->state(), rt::CONTAINER_RUNNING);
  EXPECT_EQ(Property(*container, "ActiveState"), "active");
  EXPECT_EQ(ShellIn(*container, "echo lives"), "lives\n");
  ASSERT_OK(node().RemoveAllPods());
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

}  // namespace
}  // namespace berth::e2e
