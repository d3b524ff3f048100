// What a process in a container is allowed to do, as the kernel tells it.
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"
#include "tests/testing/image_builder.h"

namespace berth::e2e {
namespace {

// chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap net_bind_service
// sys_chroot kill audit_write
constexpr char kDefaultCapabilities[] = "00000000a80425fb";
constexpr char kNone[] = "0000000000000000";

class Security : public E2eTest {
 protected:
  // /proc/self/status of a process in a container with this configuration.
  std::string StatusOf(const rt::ContainerConfig& config) {
    rt::ContainerConfig copy = config;
    copy.clear_command();
    for (const char* word : {"cat", "/proc/self/status"}) copy.add_command(word);
    auto ending = RunToEnd(copy);
    EXPECT_OK(ending);
    return ending.ok() ? ending->Text() : "";
  }
  std::string OutputOf(const rt::ContainerConfig& config) {
    auto ending = RunToEnd(config);
    EXPECT_OK(ending);
    return ending.ok() ? ending->Text() : "";
  }
  static rt::LinuxContainerSecurityContext& Context(rt::ContainerConfig& config) {
    return *config.mutable_linux()->mutable_security_context();
  }
};

TEST_F(Security, Defaults) {
  const std::string status = StatusOf(ShellConfig(""));
  EXPECT_EQ(Field(status, "CapEff"), kDefaultCapabilities);
  EXPECT_EQ(Field(status, "CapPrm"), kDefaultCapabilities);
  EXPECT_EQ(Field(status, "CapBnd"), kDefaultCapabilities);
  EXPECT_EQ(Field(status, "CapInh"), kNone);
  EXPECT_EQ(Field(status, "CapAmb"), kNone);
  EXPECT_EQ(Field(status, "Seccomp"), "2");
  EXPECT_EQ(Field(status, "Pid"), "1");
  EXPECT_EQ(Field(status, "Uid"), "0\t0\t0\t0");
}

// CVE-2014-6408: an image cannot ask for more than its pod has.
TEST_F(Security, AnImageGrantsItselfNothing) {
  auto model = BusyboxImage();
  ASSERT_OK(model);
  for (Json* place :
       {&model->config, &model->config["HostConfig"], &model->config["host_config"]}) {
    (*place)["Privileged"] = true;
    (*place)["CapAdd"] = {"ALL"};
    (*place)["SecurityOpt"] = {"seccomp=unconfined", "apparmor=unconfined"};
    (*place)["PidMode"] = "host";
    (*place)["Binds"] = {"/:/host"};
  }
  model->config["Labels"] = {{"io.kubernetes.cri-o.Devices", "/dev/kmsg"}};
  model->annotations = {{"io.kubernetes.cri-o.Devices", "/dev/kmsg"},
                        {"cdi.k8s.io/all", "vendor.example/all=all"}};
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("security/grants", "1", testing::BuildImage(*model)));
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(StrCat((*registry)->address(), "/security/grants:1"));
  ASSERT_OK(cri().Call(pull));
  rt::ContainerConfig config = ShellConfig("");
  *config.mutable_image() = pull.image();
  const std::string status = StatusOf(config);
  EXPECT_EQ(Field(status, "CapEff"), kDefaultCapabilities);
  EXPECT_EQ(Field(status, "CapBnd"), kDefaultCapabilities);
  EXPECT_EQ(Field(status, "Seccomp"), "2");
  EXPECT_EQ(Field(status, "Pid"), "1");
}

TEST_F(Security, NoNewPrivs) {
  rt::ContainerConfig config = ShellConfig("");
  EXPECT_EQ(Field(StatusOf(config), "NoNewPrivs"), "0");
  Context(config).set_no_new_privs(true);
  EXPECT_EQ(Field(StatusOf(config), "NoNewPrivs"), "1");
}

TEST_F(Security, CapabilitiesAddAndDrop) {
  rt::ContainerConfig config = ShellConfig("");
  auto* capabilities = Context(config).mutable_capabilities();
  capabilities->add_drop_capabilities("ALL");
  capabilities->add_add_capabilities("NET_ADMIN");
  std::string status = StatusOf(config);
  EXPECT_EQ(Field(status, "CapEff"), "0000000000001000");
  EXPECT_EQ(Field(status, "CapBnd"), "0000000000001000");
  capabilities->clear_add_capabilities();
  capabilities->clear_drop_capabilities();
  capabilities->add_drop_capabilities("CAP_NET_RAW");
  capabilities->add_add_capabilities("CAP_SYS_TIME");
  status = StatusOf(config);
  EXPECT_EQ(Field(status, "CapEff"), "00000000aa0405fb");
}

TEST_F(Security, UsersOtherThanRootHaveNoCapabilities) {
  rt::ContainerConfig config = ShellConfig("");
  Context(config).mutable_run_as_user()->set_value(1000);
  const std::string status = StatusOf(config);
  EXPECT_EQ(Field(status, "Uid"), "1000\t1000\t1000\t1000");
  EXPECT_EQ(Field(status, "CapEff"), kNone);
  EXPECT_EQ(Field(status, "CapPrm"), kNone);
  EXPECT_EQ(Field(status, "CapBnd"), kDefaultCapabilities);
}

TEST_F(Security, UserByNumberTakesGroupsFromTheImage) {
  rt::ContainerConfig config = ShellConfig("id; echo $HOME");
  Context(config).mutable_run_as_user()->set_value(1000);
  Context(config).add_supplemental_groups(4000);
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  auto status = AwaitExit(*container);
  ASSERT_OK(status);
  const std::string text = LogText(Log(*container));
  EXPECT_NE(text.find("uid=1000(app) gid=1000(app)"), std::string::npos) << text;
  EXPECT_NE(text.find("2000(extra)"), std::string::npos) << text;
  EXPECT_NE(text.find("4000"), std::string::npos) << text;
  EXPECT_NE(text.find("/home/app\n"), std::string::npos) << text;
  EXPECT_EQ(status->user().linux().uid(), 1000);
  EXPECT_EQ(status->user().linux().gid(), 1000);
}

TEST_F(Security, UserByNameAndGroup) {
  rt::ContainerConfig config = ShellConfig("id -u; id -g; id -G");
  Context(config).set_run_as_username("nobody");
  EXPECT_EQ(OutputOf(config), "65534\n65534\n65534\n");
  Context(config).clear_run_as_username();
  Context(config).mutable_run_as_user()->set_value(1000);
  Context(config).mutable_run_as_group()->set_value(3000);
  const std::string text = OutputOf(config);
  EXPECT_TRUE(text.starts_with("1000\n3000\n")) << text;
}

TEST_F(Security, StrictGroupsIgnoreTheImages) {
  rt::ContainerConfig config = ShellConfig("id -G");
  Context(config).mutable_run_as_user()->set_value(1000);
  Context(config).mutable_run_as_group()->set_value(1000);
  Context(config).add_supplemental_groups(4000);
  Context(config).set_supplemental_groups_policy(rt::Strict);
  EXPECT_EQ(OutputOf(config), "1000 4000\n");
}

TEST_F(Security, UnknownUserNameIsNamed) {
  rt::ContainerConfig config = ShellConfig("true");
  Context(config).set_run_as_username("nosuchuser");
  auto ending = RunToEnd(config);
  ASSERT_FALSE(ending.ok());
  EXPECT_NE(ending.error().message().find("nosuchuser"), std::string::npos)
      << ending.error().message();
}

TEST_F(Security, SeccompProfiles) {
  // unshare(CLONE_NEWUSER) needs no capability, so only the filter can refuse it.
  rt::ContainerConfig config =
      ShellConfig("unshare -U true 2>/dev/null && echo allowed || echo no");
  Context(config).mutable_seccomp()->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  EXPECT_EQ(OutputOf(config), "no\n");
  Context(config).mutable_seccomp()->set_profile_type(rt::SecurityProfile::Unconfined);
  EXPECT_EQ(Field(StatusOf(config), "Seccomp"), "0");
  Context(config).clear_seccomp();
  EXPECT_EQ(Field(StatusOf(config), "Seccomp"), "0");
  Context(config).mutable_seccomp()->set_profile_type(rt::SecurityProfile::Localhost);
  Context(config).mutable_seccomp()->set_localhost_ref("/no/such/profile.json");
  auto ending = RunToEnd(config);
  ASSERT_FALSE(ending.ok());
  EXPECT_NE(ending.error().message().find("/no/such/profile.json"), std::string::npos)
      << ending.error().message();
}

TEST_F(Security, SeccompProfilesOfTheNode) {
  const std::string path = StrCat(node().dir(), "/no-mkdir.json");
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, path,
                              R"({"defaultAction": "SCMP_ACT_ALLOW",
                                  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
                                  "syscalls": [{"names": ["mkdir", "mkdirat"],
                                                "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]})",
                              0644));
  rt::ContainerConfig config = ShellConfig("mkdir /x 2>&1 | sed 's/.*: //'; touch /y && echo y");
  Context(config).mutable_seccomp()->set_profile_type(rt::SecurityProfile::Localhost);
  Context(config).mutable_seccomp()->set_localhost_ref(path);
  EXPECT_EQ(OutputOf(config), "No space left on device\ny\n");
  Context(config).clear_seccomp();
  Context(config).set_seccomp_profile_path("localhost/" + path);
  EXPECT_EQ(OutputOf(config), "No space left on device\ny\n");
  Context(config).set_seccomp_profile_path("unconfined");
  EXPECT_EQ(OutputOf(config), "y\n");
  Context(config).set_seccomp_profile_path("/not/localhost");
  EXPECT_FAILS(RunToEnd(config), Code::kInvalidArgument, "seccomp_profile_path");
}

// tests/e2e/apparmor_test.cc: where there is AppArmor.
TEST_F(Security, AppArmorProfilesAreRefusedByAKernelWithout) {
  if (*Exists("/sys/module/apparmor")) GTEST_SKIP() << "this kernel has AppArmor";
  rt::ContainerConfig config = ShellConfig("echo ran");
  auto* profile = Context(config).mutable_apparmor();
  profile->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  EXPECT_EQ(OutputOf(config), "ran\n");
  profile->set_profile_type(rt::SecurityProfile::Unconfined);
  EXPECT_EQ(OutputOf(config), "ran\n");
  profile->set_profile_type(rt::SecurityProfile::Localhost);
  profile->set_localhost_ref("strict");
  EXPECT_FAILS(RunToEnd(config), Code::kFailedPrecondition, "\"strict\"");
  Context(config).clear_apparmor();
  Context(config).set_apparmor_profile("localhost/older");
  EXPECT_FAILS(RunToEnd(config), Code::kFailedPrecondition, "\"older\"");
  Context(config).set_apparmor_profile("runtime/default");
  EXPECT_EQ(OutputOf(config), "ran\n");
  rt::PodSandboxConfig pod = PodConfig();
  profile = pod.mutable_linux()->mutable_security_context()->mutable_apparmor();
  profile->set_profile_type(rt::SecurityProfile::Localhost);
  profile->set_localhost_ref("pods");
  EXPECT_FAILS(RunPod(pod), Code::kFailedPrecondition, "\"pods\"");
}

TEST_F(Security, SelinuxLabelsAreAppliedOrRefused) {
  if (*Exists("/sys/fs/selinux/enforce")) GTEST_SKIP() << "this kernel has SELinux";
  rt::ContainerConfig config = ShellConfig("echo ran");
  Context(config).mutable_selinux_options()->set_level("s0:c1,c2");
  EXPECT_FAILS(RunToEnd(config), Code::kFailedPrecondition, "container_t:s0:c1,c2");
  Context(config).mutable_selinux_options()->set_type("spc_t");
  EXPECT_EQ(OutputOf(config), "ran\n");
  Context(config).mutable_selinux_options()->set_type("a b");
  EXPECT_FAILS(RunToEnd(config), Code::kInvalidArgument, "selinux_options.type");
}

TEST_F(Security, AmbientCapabilitiesReachUsersOtherThanRoot) {
  rt::ContainerConfig config = ShellConfig("");
  Context(config).mutable_run_as_user()->set_value(1000);
  Context(config).mutable_capabilities()->add_add_ambient_capabilities("NET_BIND_SERVICE");
  const std::string status = StatusOf(config);
  EXPECT_EQ(Field(status, "CapAmb"), "0000000000000400");
  EXPECT_EQ(Field(status, "CapEff"), "0000000000000400");
  EXPECT_EQ(Field(status, "CapInh"), "0000000000000400");
  Context(config).mutable_capabilities()->add_drop_capabilities("NET_BIND_SERVICE");
  EXPECT_FAILS(RunToEnd(config), Code::kInvalidArgument, "add_ambient");
  Context(config).mutable_capabilities()->set_drop_capabilities(0, "NO_SUCH");
  EXPECT_FAILS(RunToEnd(config), Code::kInvalidArgument, "capabilities.drop");
}

TEST_F(Security, ThePidNamespaceOfATarget) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto target = RunContainer(*pod, ShellConfig("sleep 1234", "target"));
  ASSERT_OK(target);
  rt::ContainerConfig config = ShellConfig("ps", "debugger");
  auto* namespaces = Context(config).mutable_namespace_options();
  namespaces->set_pid(rt::TARGET);
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "target_id");
  namespaces->set_target_id("nosuchcontainer");
  EXPECT_FAILS(Create(*pod, config), Code::kNotFound, "target_id");
  namespaces->set_target_id(*target);
  auto debugger = RunContainer(*pod, config);
  ASSERT_OK(debugger);
  ASSERT_OK(AwaitExit(*debugger));
  EXPECT_NE(LogText(Log(*debugger)).find("sleep 1234"), std::string::npos);
  // Its end leaves the target alone.
  EXPECT_EQ(ShellIn(*target, "echo alive"), "alive\n");
  auto other_pod = RunPod(PodConfig("other"));
  ASSERT_OK(other_pod);
  EXPECT_FAILS(Create(*other_pod, config), Code::kInvalidArgument, "target_id");
}

TEST_F(Security, NamespacesOfTheHost) {
  rt::PodSandboxConfig pod = PodConfig();
  auto* of_pod = pod.mutable_linux()->mutable_security_context()->mutable_namespace_options();
  of_pod->set_pid(rt::NODE);
  of_pod->set_ipc(rt::NODE);
  of_pod->set_network(rt::NODE);
  rt::ContainerConfig config = ShellConfig(
      "for n in pid ipc net uts mnt cgroup; do readlink /proc/self/ns/$n; done; echo $$");
  *Context(config).mutable_namespace_options() = *of_pod;
  auto ending = RunToEnd(pod, config);
  ASSERT_OK(ending);
  const std::string text = ending->Text();
  for (const char* kind : {"pid", "ipc", "net", "uts"}) {
    char link[64] = {};
    ASSERT_GT(readlink(StrCat("/proc/self/ns/", kind).c_str(), link, sizeof link - 1), 0);
    EXPECT_NE(text.find(link), std::string::npos) << text;
  }
  for (const char* kind : {"mnt", "cgroup"}) {
    char link[64] = {};
    ASSERT_GT(readlink(StrCat("/proc/self/ns/", kind).c_str(), link, sizeof link - 1), 0);
    EXPECT_EQ(text.find(link), std::string::npos) << text;
  }
}

TEST_F(Security, DevicesOfTheRequest) {
  rt::ContainerConfig config = ShellConfig(
      "head -c 2 /dev/mine | wc -c; (echo x > /dev/mine) 2>/dev/null || echo read-only; "
      "stat -c '%F %t:%T' /dev/mine");
  rt::Device* device = config.add_devices();
  device->set_host_path("/dev/zero");
  device->set_container_path("/dev/mine");
  device->set_permissions("r");
  // The default devices are allowed whole: so of another one, as far as there is any.
  EXPECT_EQ(OutputOf(config).substr(0, 2), "2\n");
  device->set_host_path("/dev/no-such-device");
  auto ending = RunToEnd(config);
  ASSERT_FALSE(ending.ok());
  EXPECT_NE(ending.error().message().find("devices[0].host_path"), std::string::npos)
      << ErrorText(ending);
}

TEST_F(Security, DevicesByTheirCdiNames) {
  ASSERT_OK(MakeDirs(node().cdi_dir(), 0755));
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, node().cdi_dir() + "/readme", "of the vendor\n", 0644));
  ASSERT_OK(AtomicWriteFileAt(
      AT_FDCWD, node().cdi_dir() + "/vendor.json",
      StrCat(R"({"cdiVersion": "0.7.0", "kind": "vendor.com/zero",
                 "containerEdits": {"mounts": [{"hostPath": ")",
             node().cdi_dir(), R"(/readme", "containerPath": "/readme", "options": ["ro"]}]},
                 "devices": [{"name": "a", "containerEdits": {
                    "env": ["ZERO=a"], "additionalGids": [4444],
                    "deviceNodes": [{"path": "/dev/zero-a", "hostPath": "/dev/zero",
                                     "fileMode": 432}]}}]})"),
      0644));
  rt::ContainerConfig config = ShellConfig(
      "head -c 3 /dev/zero-a | wc -c; stat -c %a /dev/zero-a; cat /readme; echo $ZERO; id -G; "
      "echo x 2>/dev/null > /readme || echo no");
  config.add_cdi_devices()->set_name("vendor.com/zero=a");
  auto ending = RunToEnd(config);
  ASSERT_OK(ending);
  EXPECT_EQ(ending->Text(), "3\n660\nof the vendor\na\n0 4444\nno\n");
  EXPECT_EQ(*ending->status.user().linux().supplemental_groups().rbegin(), 4444);
  config.add_cdi_devices()->set_name("vendor.com/zero=b");
  EXPECT_FAILS(RunToEnd(config), Code::kNotFound, "CDI_devices[1] \"vendor.com/zero=b\"");
}

TEST_F(Security, MaskedAndReadOnlyPaths) {
  rt::ContainerConfig config = ShellConfig(
      "for f in /proc/kcore /proc/keys /proc/timer_list; do [ -e $f ] && (wc -c < $f) "
      "2>/dev/null; done; "
      "ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :$ | grep -v '^$'; "
      "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper; do "
      "(echo x > $f) 2>/dev/null && echo wrote $f; done; true");
  const std::string text = OutputOf(config);
  for (std::string_view line : Split(text, '\n')) {
    EXPECT_TRUE(line.empty() || line == "0") << text;
  }
}

TEST_F(Security, PathsThatTheRequestMasks) {
  rt::ContainerConfig config =
      ShellConfig("cat /etc/group; ls /home; (echo x > /proc/sys/kernel/hostname) 2>&1 | wc -l");
  Context(config).add_masked_paths("/etc/group");
  Context(config).add_masked_paths("/home");
  Context(config).add_masked_paths("/does/not/exist");
  Context(config).add_readonly_paths("/proc/sys");
  EXPECT_EQ(OutputOf(config), "1\n");
}

TEST_F(Security, ReadOnlyRootFileSystem) {
  rt::ContainerConfig config =
      ShellConfig("touch /x 2>/dev/null && echo wrote; touch /dev/shm/x && echo shm");
  EXPECT_EQ(OutputOf(config), "wrote\nshm\n");
  Context(config).set_readonly_rootfs(true);
  EXPECT_EQ(OutputOf(config), "shm\n");
}

TEST_F(Security, DefaultDevicesAndNoOthers) {
  const std::string text = OutputOf(ShellConfig(
      "for d in null zero full random urandom tty ptmx; do [ -e /dev/$d ] || echo no $d; done; "
      "mknod /tmp/sda b 8 0 && (head -c1 /tmp/sda 2>&1 >/dev/null); "
      "ls /dev | tr '\\n' ' '"));
  EXPECT_EQ(text.find("no "), std::string::npos) << text;
  EXPECT_EQ(text.find("sda"), text.rfind("sda")) << text;
  EXPECT_NE(text.find("Operation not permitted"), std::string::npos) << text;
  EXPECT_EQ(text.find("kmsg"), std::string::npos) << text;
}

TEST_F(Security, NothingOfTheDaemonIsInherited) {
  const std::string text =
      OutputOf(ShellConfig("ls /proc/self/fd | wc -l; umask; ulimit -n; env | sort | cut -d= -f1"));
  // 0, 1, 2, and the directory that ls reads.
  EXPECT_EQ(text, "4\n0022\n1024\nHOME\nHOSTNAME\nPATH\nPWD\nSHLVL\n");
}

TEST_F(Security, Privileged) {
  rt::PodSandboxConfig pod_config = PodConfig();
  pod_config.mutable_linux()->mutable_security_context()->set_privileged(true);
  rt::ContainerConfig config = ShellConfig(
      "cat /proc/self/status; touch /sys/x 2>&1; "
      "mount -t tmpfs none /tmp && echo mounted");
  Context(config).set_privileged(true);
  auto ending = RunToEnd(pod_config, config);
  ASSERT_OK(ending);
  const std::string text = ending->Text();
  EXPECT_EQ(Field(text, "Seccomp"), "0");
  EXPECT_NE(Field(text, "CapEff"), kDefaultCapabilities);
  EXPECT_EQ(Field(text, "CapEff"), Field(text, "CapBnd"));
  EXPECT_EQ(text.find("Read-only"), std::string::npos) << text;
  EXPECT_NE(text.find("mounted\n"), std::string::npos) << text;
}

TEST_F(Security, PrivilegedContainersNeedAPrivilegedPod) {
  rt::ContainerConfig config = ShellConfig("true");
  Context(config).set_privileged(true);
  auto pod = RunPod();
  ASSERT_OK(pod);
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "privileged");
}

TEST_F(Security, AnImagesLinksDoNotLeadOut) {
  auto base = BusyboxImage();
  ASSERT_OK(base);
  base->layers.push_back(
      {.tar = testing::MakeTar(
           {{.path = "etc/passwd",
             .content = "/../../../../../../etc/shadow",
             .type = testing::EntryType::kSymlink},
            {.path = "proc", .content = "/tmp", .type = testing::EntryType::kSymlink}})});
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("security/links", "1", testing::BuildImage(*base)));
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image((*registry)->address() + "/security/links:1");
  ASSERT_OK(cri().Call(pull));
  rt::ContainerConfig config = ShellConfig("mount | grep ' /tmp '; echo end");
  config.mutable_image()->set_image(pull.image().image());
  // Either it is refused, or /proc was not mounted over what the link names.
  auto ending = RunToEnd(config);
  if (ending.ok()) {
    EXPECT_EQ(ending->Text(), "end\n");
  }
}

}  // namespace
}  // namespace berth::e2e
