// SELinux on a kernel that has it: what label a process, its root file system and its volumes get,
// and that it holds.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "tests/e2e/e2e_test.h"
#include "tests/e2e/selinux_policy.h"
#include "tests/testing/temp_dir.h"

namespace berth::e2e {
namespace {

constexpr char kTellLabel[] = "tr -d '\\0' </proc/self/attr/current; echo";
constexpr char kContainerPrefix[] = "system_u:system_r:container_t:s0:c";

class Selinux : public E2eTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    auto why_not = WhyNoSelinuxPolicy();
    ASSERT_OK(why_not);
    if (!why_not->empty()) GTEST_SKIP() << *why_not;
    E2eTest::SetUp();
    ASSERT_EQ(mkdir((volume_ / "files").c_str(), 0755), 0);
    ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, volume_ / "files/file", "read\n", 0644));
  }

  static rt::LinuxContainerSecurityContext& Security(rt::ContainerConfig& config) {
    return *config.mutable_linux()->mutable_security_context();
  }
  Result<std::string> RunTheirPod(const rt::PodSandboxConfig& config) {
    return RunPod(config, GetParam());
  }
  // A pod and a container in it that waits.
  std::string RunWaiting(const rt::ContainerConfig& config = {},
                         rt::PodSandboxConfig pod_config = {}) {
    if (!pod_config.has_metadata()) pod_config = PodConfig();
    auto pod = RunTheirPod(pod_config);
    EXPECT_OK(pod);
    if (!pod.ok()) return "";
    rt::ContainerConfig waiting = ShellConfig("sleep 1000");
    waiting.MergeFrom(config);
    auto container = RunContainer(*pod, waiting);
    EXPECT_OK(container);
    return container.ok() ? *container : "";
  }
  rt::ContainerConfig WithVolume(bool relabel) {
    rt::ContainerConfig config;
    auto* mount = config.add_mounts();
    mount->set_host_path(volume_ / "files");
    mount->set_container_path("/volume");
    mount->set_selinux_relabel(relabel);
    return config;
  }
  std::string LabelOf(const std::string& path) {
    char label[256] = {};
    EXPECT_GT(getxattr(path.c_str(), "security.selinux", label, sizeof label - 1), 0) << path;
    return label;
  }
  void SetLabel(const std::string& path, const std::string& label) {
    ASSERT_EQ(setxattr(path.c_str(), "security.selinux", label.c_str(), label.size() + 1, 0), 0);
  }
  // "s0:c1,c2" of the label.
  static std::string LevelOf(std::string_view label) {
    for (int i = 0; i < 3; ++i) label.remove_prefix(label.find(':') + 1);
    return std::string(Trim(label));
  }

  const testing::TempDir volume_;
};

TEST_P(Selinux, EachPodHasCategoriesOfItsOwn) {
  auto pod = RunTheirPod(PodConfig());
  ASSERT_OK(pod);
  auto one = RunContainer(*pod, ShellConfig("sleep 1000", "one"));
  ASSERT_OK(one);
  auto two = RunContainer(*pod, ShellConfig("sleep 1000", "two"));
  ASSERT_OK(two);
  const std::string label = ShellIn(*one, kTellLabel);
  EXPECT_TRUE(label.starts_with(kContainerPrefix)) << label;
  EXPECT_EQ(ShellIn(*two, kTellLabel), label);
  EXPECT_NE(ShellIn(RunWaiting(), kTellLabel), label);
  // The first process has the one that an exec has.
  EXPECT_EQ(ShellIn(*one, "tr -d '\\0' </proc/1/attr/current; echo"), label);
}

TEST_P(Selinux, ItsOwnFilesAreItsOwn) {
  const std::string container = RunWaiting();
  const std::string level = LevelOf(ShellIn(container, kTellLabel));
  const std::string mounts = ShellIn(container, "cat /proc/mounts");
  const std::string context = StrCat("system_u:object_r:container_file_t:", level);
  EXPECT_NE(mounts.find(context), std::string::npos) << mounts;
  EXPECT_EQ(ShellIn(container,
                    "for d in / /tmp /root /dev/shm; do echo x >$d/new && cat $d/new; done; "
                    "cat /etc/hosts >/dev/null && cat /etc/resolv.conf >/dev/null && "
                    "cat /etc/hostname >/dev/null && echo all"),
            "x\nx\nx\nx\nall\n");
}

// As the conformance suite asks: its pods share a PID namespace, and it looks for labels at the
// first process.
TEST_P(Selinux, TheFirstProcessOfASharedPidNamespaceIsAContainersAlso) {
  for (bool privileged : {false, true}) {
    rt::PodSandboxConfig pod_config = PodConfig(privileged ? "privileged" : "pod");
    auto* security = pod_config.mutable_linux()->mutable_security_context();
    security->set_privileged(privileged);
    security->mutable_namespace_options()->set_pid(rt::POD);
    auto pod = RunTheirPod(pod_config);
    ASSERT_OK(pod);
    rt::ContainerConfig config = ShellConfig("sleep 1000");
    Security(config).set_privileged(privileged);
    Security(config).mutable_namespace_options()->set_pid(rt::POD);
    auto container = RunContainer(*pod, config);
    ASSERT_OK(container);
    EXPECT_EQ(ShellIn(*container, "cat /proc/1/comm"), "berth-pod-init\n");
    const std::string label = ShellIn(*container, "tr -d '\\0' </proc/1/attr/current; echo");
    EXPECT_TRUE(label.starts_with(kContainerPrefix)) << label;
    const std::string root =
        StrCat(",context=\"system_u:object_r:container_file_t:", LevelOf(label), "\",");
    for (const char* process : {"1", "self"}) {
      const std::string mounts = ShellIn(*container, StrCat("cat /proc/", process, "/mountinfo"));
      EXPECT_NE(mounts.find(root), std::string::npos) << mounts;
    }
  }
}

TEST_P(Selinux, AWrongLevelIsRefusedOfAPrivilegedContainerAlso) {
  rt::PodSandboxConfig pod_config = PodConfig();
  pod_config.mutable_linux()->mutable_security_context()->set_privileged(true);
  auto pod = RunTheirPod(pod_config);
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("true");
  Security(config).set_privileged(true);
  Security(config).mutable_selinux_options()->set_level("s0,c4,c5");
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "selinux_options.level");
}

TEST_P(Selinux, TheWantedLabelOfThePodOrOfTheContainer) {
  rt::PodSandboxConfig pod_config = PodConfig();
  rt::ContainerConfig config;
  auto* options = Security(config).mutable_selinux_options();
  options->set_level("s0:c7,c9");
  *pod_config.mutable_linux()->mutable_security_context()->mutable_selinux_options() = *options;
  EXPECT_EQ(ShellIn(RunWaiting(config, pod_config), kTellLabel),
            "system_u:system_r:container_t:s0:c7,c9\n");
  options->set_user("system_u");
  options->set_role("system_r");
  options->set_type("spc_t");
  options->set_level("s0:c3");
  EXPECT_EQ(ShellIn(RunWaiting(config), kTellLabel), "system_u:system_r:spc_t:s0:c3\n");
}

TEST_P(Selinux, ItHolds) {
  SetLabel(volume_ / "files/file", "system_u:object_r:secret_t:s0");
  const std::string read = "cat /volume/file 2>/dev/null || echo no";
  EXPECT_EQ(ShellIn(RunWaiting(WithVolume(false)), read), "no\n");
  rt::PodSandboxConfig pod_config = PodConfig();
  pod_config.mutable_linux()->mutable_security_context()->set_privileged(true);
  rt::ContainerConfig config = WithVolume(false);
  Security(config).set_privileged(true);
  const std::string free = RunWaiting(config, pod_config);
  EXPECT_EQ(ShellIn(free, read), "read\n");
  EXPECT_EQ(ShellIn(free, kTellLabel), "system_u:system_r:spc_t:s0\n");
}

TEST_P(Selinux, NoNewPrivilegesChangesNothing) {
  rt::ContainerConfig config;
  Security(config).set_no_new_privs(true);
  const std::string label = ShellIn(RunWaiting(config), kTellLabel);
  EXPECT_TRUE(label.starts_with(kContainerPrefix)) << label;
}

TEST_P(Selinux, ARelabelledVolumeIsThePods) {
  SetLabel(volume_ / "files/file", "system_u:object_r:secret_t:s0");
  const std::string container = RunWaiting(WithVolume(true));
  const std::string level = LevelOf(ShellIn(container, kTellLabel));
  const std::string label = StrCat("system_u:object_r:container_file_t:", level);
  EXPECT_EQ(LabelOf(volume_ / "files"), label);
  EXPECT_EQ(LabelOf(volume_ / "files/file"), label);
  const std::string try_both =
      "cat /volume/file 2>/dev/null; touch /volume/new 2>/dev/null && echo written || echo no";
  EXPECT_EQ(ShellIn(container, try_both), "read\nwritten\n");
  EXPECT_EQ(ShellIn(RunWaiting(WithVolume(false)), try_both), "no\n");
}

TEST_P(Selinux, AmongTheHostsProcessesThereIsNoLabel) {
  rt::PodSandboxConfig pod_config = PodConfig();
  rt::ContainerConfig config;
  for (auto* namespaces :
       {pod_config.mutable_linux()->mutable_security_context()->mutable_namespace_options(),
        Security(config).mutable_namespace_options()}) {
    namespaces->set_pid(rt::NODE);
  }
  EXPECT_EQ(ShellIn(RunWaiting(config, pod_config), kTellLabel),
            "system_u:system_r:kernel_t:s0-s0:c0.c1023\n");
}

TEST_P(Selinux, ATypeThatThePolicyLacksIsRefused) {
  rt::PodSandboxConfig pod_config = PodConfig();
  auto pod = RunTheirPod(pod_config);
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("true");
  auto* options = Security(config).mutable_selinux_options();
  options->set_type("absent_t");
  EXPECT_FAILS(Create(*pod, config), Code::kFailedPrecondition, ":absent_t:");
  pod_config = PodConfig("other");
  *pod_config.mutable_linux()->mutable_security_context()->mutable_selinux_options() = *options;
  EXPECT_FAILS(RunTheirPod(pod_config), Code::kFailedPrecondition, ":absent_t:");
}

INSTANTIATE_TEST_SUITE_P(Handlers, Selinux, kHandlers, HandlerName);

}  // namespace
}  // namespace berth::e2e
