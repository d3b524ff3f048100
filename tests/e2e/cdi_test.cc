// Devices by their CDI names: what their vendors' files do to a container, with each handler.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Cdi : public E2eTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_OK(MakeDirs(node().cdi_dir(), 0755));
    ASSERT_OK(MakeDirs(Dir(), 0755));
  }
  void TearDown() override {
    E2eTest::TearDown();
    EXPECT_EQ(node().Remains(), std::vector<std::string>());
    const auto dir = berth::Open(node().dir(), O_RDONLY | O_DIRECTORY);
    EXPECT_OK(RemoveTreeAt(dir->get(), "hooks"));
    unlink((node().cdi_dir() + "/vendor.yaml").c_str());
  }
  // Where hooks of the host write to.
  std::string Dir() { return node().dir() + "/hooks"; }
  std::string FileOfHooks(const std::string& name) {
    auto text = ReadFile(StrCat(Dir(), "/", name));
    return text.ok() ? *text : "";
  }
  // The device vendor.com/gpu=0 with these edits, YAML indented by four.
  void Describe(const std::string& edits) {
    ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, node().cdi_dir() + "/vendor.yaml",
                                StrCat("cdiVersion: 0.7.0\nkind: vendor.com/gpu\ndevices:\n"
                                       "- name: 0\n  containerEdits:\n",
                                       edits),
                                0644));
  }
  // A hook that is a script; the state is on its standard input.
  std::string Hook(const std::string& point, const std::string& script,
                   const std::string& more = "") {
    return StrCat("    - hookName: ", point, "\n      path: /bin/sh\n      args:\n      - sh\n",
                  "      - -c\n      - |\n        d=", Dir(), "\n        ", script, "\n",
                  "      env: [\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\"]\n", more);
  }
  rt::ContainerConfig WithDevice(rt::ContainerConfig config) {
    config.add_cdi_devices()->set_name("vendor.com/gpu=0");
    return config;
  }
  Result<std::string> CreateIt(const rt::ContainerConfig& config) {
    ASSIGN_OR_RETURN(const std::string pod, RunPod(PodConfig(), GetParam()));
    return Create(pod, WithDevice(config));
  }
  // Waits until no process of the machine has that text in its command line.
  static bool AllGone(const std::string& text) {
    for (int i = 0; i < 1000; ++i) {
      auto found = RunProgram(Context::WithTimeoutMs(60'000),
                              Program("/usr/bin/pgrep", {"pgrep", "-f", text}), "");
      if (found.ok() && found->exit_code == 1) return true;
      usleep(20'000);
    }
    return false;
  }
};

// As the hooks of GPUs find the container's root file system.
constexpr char kFindRoot[] =
    "b=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/'); "
    "r=$(sed 's/.*\"root\":{\"path\":\"\\([^\"]*\\)\".*/\\1/' $b/config.json); "
    "case $r in /*) ;; *) r=$b/$r;; esac; ";

TEST_P(Cdi, HooksDoTheirWork) {
  Describe(StrCat(
      "    env: [GPU=zero]\n    additionalGids: [4444]\n"
      "    deviceNodes:\n    - {path: /dev/gpu0, hostPath: /dev/zero, fileMode: 0640, gid: 4444}\n"
      "    mounts:\n    - {hostPath: tmpfs, containerPath: /run/gpu, type: tmpfs}\n    hooks:\n",
      Hook("createRuntime", "cat > $d/createRuntime"),
      Hook("createContainer",
           StrCat(kFindRoot, "ln -s target $r/gpu-link && mkdir $r/run/gpu/made")),
      // In the container: the last line of a script of its own shell.
      Hook("startContainer", "id -u > /run/gpu/started"), Hook("poststart", "cat > $d/poststart"),
      Hook("poststop", "cat > $d/poststop")));
  auto container = CreateIt(ShellConfig(
      "readlink /gpu-link; ls /run/gpu; cat /run/gpu/started; stat -c '%a %g' /dev/gpu0; "
      "head -c 3 /dev/gpu0 | wc -c; echo $GPU; id -G; sleep 1000"));
  ASSERT_OK(container);
  EXPECT_EQ(FileOfHooks("createRuntime"), "");
  ASSERT_OK(StartIt(*container));
  ASSERT_TRUE(AwaitLog(*container, " F 0 4444\n")) << Log(*container);
  EXPECT_EQ(LogText(Log(*container)), "target\nmade\nstarted\n0\n640 4444\n3\nzero\n0 4444\n");
  EXPECT_NE(FileOfHooks("createRuntime").find(*container), std::string::npos);
  EXPECT_NE(FileOfHooks("poststart").find(*container), std::string::npos);
  EXPECT_EQ(FileOfHooks("poststop"), "");
  // An exec is none of the hooks' business.
  EXPECT_EQ(ShellIn(*container, "readlink /gpu-link"), "target\n");
  ASSERT_OK(Stop(*container));
  ASSERT_OK(Remove(*container));
  EXPECT_NE(FileOfHooks("poststop").find(*container), std::string::npos);
}

TEST_P(Cdi, AHookThatFailsFailsTheStartByItsName) {
  Describe("    hooks:\n" + Hook("createContainer", "echo no such driver >&2; exit 3") +
           Hook("poststop", "echo ran > $d/poststop"));
  auto container = CreateIt(ShellConfig("echo ran"));
  ASSERT_OK(container);
  auto started = StartIt(*container);
  ASSERT_FALSE(started.ok());
  EXPECT_FAILS(started, Code::kFailedPrecondition, "hook");
  EXPECT_FAILS(started, Code::kFailedPrecondition, "no such driver");
  if (std::string(GetParam()).empty()) {
    EXPECT_FAILS(started, Code::kFailedPrecondition,
                 "createContainer hook /bin/sh: exit 3: no such driver");
    EXPECT_EQ(FileOfHooks("poststop"), "ran\n");
  }
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->state(), rt::CONTAINER_EXITED);
  EXPECT_EQ(status->exit_code(), 128);
  EXPECT_NE(status->message().find("hook"), std::string::npos) << status->message();
  ASSERT_OK(Remove(*container));
}

TEST_P(Cdi, AHookThatTakesTooLongIsKilled) {
  Describe("    hooks:\n" + Hook("createRuntime", "exec sleep 98701", "      timeout: 1\n"));
  auto container = CreateIt(ShellConfig("echo ran"));
  ASSERT_OK(container);
  const int64_t begin = MonotonicNs();
  EXPECT_FALSE(StartIt(*container).ok());
  EXPECT_LT(MonotonicNs() - begin, 60'000'000'000);
  EXPECT_EQ(Status(*container)->state(), rt::CONTAINER_EXITED);
  EXPECT_TRUE(AllGone("sleep 98701"));
  ASSERT_OK(Remove(*container));
}

INSTANTIATE_TEST_SUITE_P(Handlers, Cdi, ::testing::Values("", "crun", "runc"),
                         [](const auto& tested) {
                           return std::string(*tested.param == 0 ? "BuiltIn" : tested.param);
                         });

class CdiBuiltIn : public Cdi {};
INSTANTIATE_TEST_SUITE_P(Handlers, CdiBuiltIn, ::testing::Values(""),
                         [](const auto&) { return std::string("BuiltIn"); });

TEST_P(CdiBuiltIn, TheTimeoutIsNamed) {
  Describe("    hooks:\n" +
           Hook("startContainer", "echo begun; sleep 98702 & sleep 98702", "      timeout: 1\n"));
  auto container = CreateIt(ShellConfig("echo ran"));
  ASSERT_OK(container);
  EXPECT_FAILS(StartIt(*container), Code::kDeadlineExceeded,
               "startContainer hook /bin/sh: killed: it took longer than its timeout, 1 s: begun");
  EXPECT_TRUE(AllGone("sleep 98702"));
}

TEST_P(CdiBuiltIn, WhatCannotBeGivenNamesDeviceAndField) {
  Describe("    intelRdt: {closID: guaranteed}\n");
  EXPECT_FAILS(CreateIt(ShellConfig("true")), Code::kUnimplemented,
               StrCat("CDI_devices[0] \"vendor.com/gpu=0\": ", node().cdi_dir(),
                      "/vendor.yaml: containerEdits.intelRdt"));
  Describe("    netDevices: [{hostInterfaceName: eth1, name: gpu0}]\n");
  EXPECT_FAILS(CreateIt(ShellConfig("true")), Code::kUnimplemented, "containerEdits.netDevices");
  Describe("    mounts: [{hostPath: none, containerPath: /x, type: nosuchfs}]\n");
  auto container = CreateIt(ShellConfig("true"));
  ASSERT_OK(container);
  auto started = StartIt(*container);
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().message().find("nosuchfs"), std::string::npos) << ErrorText(started);
}

// What hooks need is made for containers that have some.
TEST_P(CdiBuiltIn, ContainersWithoutDevicesHaveNoBundle) {
  Describe("    hooks:\n" + Hook("prestart", "true"));
  auto with = CreateIt(ShellConfig("true", "with"));
  ASSERT_OK(with);
  auto pod = RunPod(PodConfig("other"));
  ASSERT_OK(pod);
  auto without = Create(*pod, ShellConfig("true", "without"));
  ASSERT_OK(without);
  const std::string directory = node().dir() + "/state/containers/";
  EXPECT_EQ(access(StrCat(directory, *with, "/config.json").c_str(), F_OK), 0);
  EXPECT_NE(access(StrCat(directory, *without, "/config.json").c_str(), F_OK), 0);
  EXPECT_NE(access(StrCat(directory, *without, "/rootfs").c_str(), F_OK), 0);
}

TEST_P(CdiBuiltIn, InAUserNamespace) {
  rt::PodSandboxConfig config = PodConfig();
  auto* userns = config.mutable_linux()
                     ->mutable_security_context()
                     ->mutable_namespace_options()
                     ->mutable_userns_options();
  userns->set_mode(rt::POD);
  for (auto* mapping : {userns->add_uids(), userns->add_gids()}) {
    mapping->set_host_id(131072);
    mapping->set_length(65536);
  }
  auto status = cri().Call(rt::StatusRequest());
  ASSERT_OK(status);
  if (!status->runtime_handlers(0).features().user_namespaces()) {
    GTEST_SKIP() << "the kernel cannot map the ids of the layers' file system";
  }
  Describe(StrCat("    hooks:\n", Hook("createRuntime", "cat > $d/createRuntime"),
                  Hook("createContainer", StrCat(kFindRoot, "ln -s target $r/gpu-link")),
                  Hook("startContainer", "cat /proc/self/uid_map > /started")));
  rt::ContainerConfig shell = WithDevice(ShellConfig(
      "readlink /gpu-link; awk '{print $1, $2, $3}' /started; rm /gpu-link && echo own"));
  *shell.mutable_linux()->mutable_security_context()->mutable_namespace_options() =
      config.linux().security_context().namespace_options();
  auto ending = RunToEnd(config, shell);
  ASSERT_OK(ending);
  EXPECT_EQ(ending->Text(), "target\n0 131072 65536\nown\n");
  EXPECT_NE(FileOfHooks("createRuntime").find("\"status\":\"creating\""), std::string::npos);
}

// The daemon is killed while a hook runs: the start goes on without it, or it never was.
TEST_P(CdiBuiltIn, ADaemonThatIsKilledMeanwhileLeavesNothing) {
  for (const char* seconds : {"2.0703", "98703"}) {
    const bool ends = std::string(seconds) == "2.0703";
    Describe(
        StrCat("    hooks:\n", Hook("createRuntime", StrCat("echo > $d/begun; sleep ", seconds))));
    auto container = CreateIt(ShellConfig("sleep 1000", ends ? "a" : "b"));
    ASSERT_OK(container);
    std::thread start([&] { EXPECT_FALSE(StartIt(*container).ok()); });
    for (int i = 0; i < 3000 && FileOfHooks("begun").empty(); ++i) usleep(10'000);
    EXPECT_OK(node().StopDaemon(SIGKILL));
    start.join();
    unlink((Dir() + "/begun").c_str());
    ASSERT_OK(node().StartDaemon());
    auto status = Status(*container);
    ASSERT_OK(status);
    EXPECT_EQ(status->state(), ends ? rt::CONTAINER_RUNNING : rt::CONTAINER_EXITED);
    EXPECT_EQ(status->exit_code(), ends ? 0 : 128);
    EXPECT_TRUE(AllGone(StrCat("sleep ", seconds, "$")));
    ASSERT_OK(Remove(*container));
  }
}

}  // namespace
}  // namespace berth::e2e
