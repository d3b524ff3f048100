// AppArmor on a kernel that has it: which profile a process runs under, and that it holds.
#include <unistd.h>

#include "base/file.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

constexpr char kProfiles[] = "/sys/kernel/security/apparmor/profiles";
constexpr char kParser[] = "/sbin/apparmor_parser";

class AppArmor : public E2eTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (!*Exists(kProfiles)) GTEST_SKIP() << "this kernel has no AppArmor";
    if (access(kParser, X_OK) != 0) GTEST_SKIP() << "apparmor_parser is not installed";
    E2eTest::SetUp();
  }

  static RunOutput Parse(const std::string& option, const std::string& text) {
    SpawnOptions parser;
    parser.path = kParser;
    parser.args = {"apparmor_parser", option, "--skip-cache"};
    auto ran = RunProgram(Context::WithTimeoutMs(60'000), parser, text);
    EXPECT_OK(ran);
    return ran.ok() ? *ran : RunOutput{-1, "", ""};
  }

  static rt::LinuxContainerSecurityContext& Security(rt::ContainerConfig& config) {
    return *config.mutable_linux()->mutable_security_context();
  }

  std::string OutputOf(const rt::ContainerConfig& config) {
    auto pod = RunPod(PodConfig(), GetParam());
    EXPECT_OK(pod);
    if (!pod.ok()) return "";
    auto container = RunContainer(*pod, config);
    EXPECT_OK(container);
    if (!container.ok()) return "";
    EXPECT_OK(AwaitExit(*container));
    return Ending{{}, Log(*container)}.Text();
  }

  const std::string tell_profile_ = "cat /proc/self/attr/current; ";
  // What capabilities and seccomp would let it do.
  const std::string try_to_mount_ =
      "mkdir -p /mnt; mount -t tmpfs none /mnt 2>&1 | sed 's/.*: //'; grep -c ' /mnt ' "
      "/proc/mounts";
};

TEST_P(AppArmor, TheDaemonHasLoadedTheDefaultProfileAndItHolds) {
  rt::ContainerConfig config = ShellConfig(tell_profile_ + try_to_mount_);
  Security(config).mutable_capabilities()->add_add_capabilities("SYS_ADMIN");
  // Without a wish, and with both fields.
  EXPECT_EQ(OutputOf(config), "berth-default (enforce)\nPermission denied\n0\n");
  Security(config).mutable_apparmor()->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  EXPECT_EQ(OutputOf(config), "berth-default (enforce)\nPermission denied\n0\n");
  Security(config).clear_apparmor();
  Security(config).set_apparmor_profile("runtime/default");
  EXPECT_EQ(OutputOf(config), "berth-default (enforce)\nPermission denied\n0\n");
}

TEST_P(AppArmor, Unconfined) {
  rt::ContainerConfig config = ShellConfig(tell_profile_ + try_to_mount_);
  Security(config).mutable_capabilities()->add_add_capabilities("SYS_ADMIN");
  Security(config).mutable_apparmor()->set_profile_type(rt::SecurityProfile::Unconfined);
  EXPECT_EQ(OutputOf(config), "unconfined\n1\n");
}

TEST_P(AppArmor, APrivilegedContainerHasNone) {
  rt::PodSandboxConfig pod_config = PodConfig();
  pod_config.mutable_linux()->mutable_security_context()->set_privileged(true);
  auto pod = RunPod(pod_config, GetParam());
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig(tell_profile_);
  Security(config).set_privileged(true);
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  ASSERT_OK(AwaitExit(*container));
  EXPECT_EQ((Ending{{}, Log(*container)}.Text()), "unconfined\n");
}

TEST_P(AppArmor, AProfileOfTheNodesByName) {
  const std::string text =
      "profile berth-test flags=(attach_disconnected) {\n"
      "  file,\n  deny /etc/passwd r,\n  signal,\n}\n";
  ASSERT_EQ(Parse("--replace", text).exit_code, 0);
  const std::string probe = tell_profile_ + "cat /etc/passwd >/dev/null 2>&1 || echo hidden";
  rt::ContainerConfig config = ShellConfig(probe);
  auto* profile = Security(config).mutable_apparmor();
  profile->set_profile_type(rt::SecurityProfile::Localhost);
  profile->set_localhost_ref("berth-test");
  EXPECT_EQ(OutputOf(config), "berth-test (enforce)\nhidden\n");
  Security(config).clear_apparmor();
  Security(config).set_apparmor_profile("localhost/berth-test");
  EXPECT_EQ(OutputOf(config), "berth-test (enforce)\nhidden\n");

  // So does what is executed in the container later.
  auto pod = RunPod(PodConfig(), GetParam());
  ASSERT_OK(pod);
  rt::ContainerConfig sleeping = config;
  *sleeping.mutable_command() = ShellConfig("sleep 1000").command();
  *sleeping.mutable_args() = ShellConfig("sleep 1000").args();
  auto container = RunContainer(*pod, sleeping);
  ASSERT_OK(container);
  EXPECT_EQ(ShellIn(*container, probe), "berth-test (enforce)\nhidden\n");
  ASSERT_OK(Stop(*container));
  EXPECT_EQ(Parse("--remove", text).exit_code, 0);
}

TEST_P(AppArmor, AProfileThatIsNotLoadedIsRefused) {
  auto pod = RunPod(PodConfig(), GetParam());
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("true");
  auto* profile = Security(config).mutable_apparmor();
  profile->set_profile_type(rt::SecurityProfile::Localhost);
  profile->set_localhost_ref("berth-absent");
  EXPECT_FAILS(Create(*pod, config), Code::kFailedPrecondition, "\"berth-absent\"");
}

TEST_P(AppArmor, AStoppedContainerIsStoppedThroughItsProfile) {
  auto pod = RunPod(PodConfig(), GetParam());
  ASSERT_OK(pod);
  auto container =
      RunContainer(*pod, ShellConfig("trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done"));
  ASSERT_OK(container);
  ASSERT_TRUE(AwaitLog(*container, "up"));
  ASSERT_OK(Stop(*container, 20));
  EXPECT_EQ(Status(*container)->exit_code(), 42);
}

INSTANTIATE_TEST_SUITE_P(Handlers, AppArmor, kHandlers, HandlerName);

}  // namespace
}  // namespace berth::e2e
