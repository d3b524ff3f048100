// Runtime handlers: the built-in one, and OCI runtimes that the shim drives. What a container of
// either can see and how it ends must not depend on who has started it.
#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/streaming_test.h"

namespace berth::e2e {
namespace {

const std::vector<std::pair<std::string, int>> kBadPrograms = {
    {"no-such-program", 127}, {"/no/such/program", 127}, {"/etc/passwd", 126}};

class Handlers : public E2eTest {
 protected:
  Result<rt::RunPodSandboxResponse> RunWith(const std::string& handler) {
    rt::RunPodSandboxRequest request;
    *request.mutable_config() = PodConfig();
    request.set_runtime_handler(handler);
    return cri().Call(request);
  }
};

TEST_F(Handlers, StatusListsThemInAStableOrder) {
  for (int i = 0; i < 3; ++i) {
    auto status = cri().Call(rt::StatusRequest());
    ASSERT_OK(status);
    ASSERT_EQ(status->runtime_handlers_size(), 4);
    EXPECT_EQ(status->runtime_handlers(0).name(), "");
    EXPECT_TRUE(status->runtime_handlers(0).features().recursive_read_only_mounts());
    EXPECT_EQ(status->runtime_handlers(1).name(), "crun");
    EXPECT_EQ(status->runtime_handlers(2).name(), "runc");
    EXPECT_TRUE(status->runtime_handlers(2).features().recursive_read_only_mounts());
    EXPECT_FALSE(status->runtime_handlers(2).features().user_namespaces());
    EXPECT_EQ(status->runtime_handlers(3).name(), "runsc");
  }
}

TEST_F(Handlers, AnUnknownOneIsRefusedWithThoseThatThereAre) {
  auto refused = RunWith("kata");
  EXPECT_FAILS(refused, Code::kInvalidArgument, "runtime_handler: \"kata\" is not configured");
  EXPECT_FAILS(refused, Code::kInvalidArgument, "\"\", \"crun\", \"runc\", \"runsc\"");
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

// Why there can be no container of that runtime here; empty if there can.
std::string WhyNot(std::string_view runtime) {
  if (runtime != "runsc") return "";
  if (access("/usr/bin/runsc", X_OK) != 0) return "runsc is not installed";
  auto processor = ReadFile("/proc/cpuinfo");
  const bool is_uml = processor.ok() && processor->find("User Mode Linux") != std::string::npos;
  return is_uml ? "gVisor traces what it runs, and does not come up in user-mode Linux" : "";
}

class OciHandlers : public E2eTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    const std::string why_not = WhyNot(GetParam());
    if (!why_not.empty()) GTEST_SKIP() << why_not;
    E2eTest::SetUp();
  }
  Result<std::string> RunTheirPod() { return RunPod(PodConfig(), GetParam()); }
  Result<Ending> RunToTheEnd(const rt::ContainerConfig& config) {
    ASSIGN_OR_RETURN(const std::string pod, RunTheirPod());
    ASSIGN_OR_RETURN(const std::string container, RunContainer(pod, config));
    Ending ending;
    ASSIGN_OR_RETURN(ending.status, AwaitExit(container));
    ending.log = Log(container);
    return ending;
  }
};

// Runtimes whose containers have the node's kernel.
class NodesKernel : public OciHandlers {};

TEST_P(OciHandlers, OutputAndExitCode) {
  auto ending = RunToTheEnd(ShellConfig("echo out; echo err >&2; exit 7"));
  ASSERT_OK(ending);
  EXPECT_EQ(ending->status.exit_code(), 7);
  EXPECT_EQ(ending->status.reason(), "Error");
  EXPECT_NE(ending->log.find(" stdout F out\n"), std::string::npos) << ending->log;
  EXPECT_NE(ending->log.find(" stderr F err\n"), std::string::npos) << ending->log;
}

TEST_P(OciHandlers, PodStatusNamesTheHandler) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  EXPECT_EQ(PodStatus(*pod)->runtime_handler(), GetParam());
}

// As kubelet asks for an ordinary pod where its UserNamespacesSupport is on.
TEST_P(OciHandlers, ThePodMayNameTheHostsUserNamespace) {
  rt::PodSandboxConfig config = PodConfig();
  config.mutable_linux()
      ->mutable_security_context()
      ->mutable_namespace_options()
      ->mutable_userns_options()
      ->set_mode(rt::NODE);
  auto pod = RunPod(config, GetParam());
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("exit 6"));
  ASSERT_OK(container);
  EXPECT_EQ(AwaitExit(*container)->exit_code(), 6);
}

// The same probes in a container of the built-in handler and of this one. crun makes no /dev/core.
TEST_P(NodesKernel, AContainerLooksAsItDoesWithTheBuiltInOne) {
  rt::ContainerConfig config = ShellConfig(
      "exec 2>&1; id; hostname; pwd; env | grep -v ^HOSTNAME | sort; "
      "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status; "
      "ls /dev | grep -v ^core; cat /proc/self/oom_score_adj; ulimit -n; umask; "
      "cat /proc/1/cmdline | tr '\\0' ' '; head -c 1 /proc/kcore | wc -c; "
      "touch /proc/sys/kernel/x 2>&1; cat /etc/hostname");
  config.set_working_dir("/tmp");
  auto* env = config.add_envs();
  env->set_key("GREETING");
  env->set_value("hello \"you\"");
  auto* security = config.mutable_linux()->mutable_security_context();
  security->mutable_run_as_user()->set_value(1000);
  security->add_supplemental_groups(3000);
  security->set_no_new_privs(true);
  security->mutable_seccomp()->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  config.mutable_linux()->mutable_resources()->set_oom_score_adj(321);
  auto builtin = RunToEnd(config);
  ASSERT_OK(builtin);
  EXPECT_NE(builtin->Text().find("hello"), std::string::npos) << builtin->Text();
  auto theirs = RunToTheEnd(config);
  ASSERT_OK(theirs);
  EXPECT_EQ(theirs->Text(), builtin->Text());
}

TEST_P(NodesKernel, TheDefaultSeccompProfileHolds) {
  rt::ContainerConfig config = ShellConfig("unshare -U true; echo code $?");
  auto ending = RunToTheEnd(config);
  ASSERT_OK(ending);
  EXPECT_EQ(ending->Text().find("code 0"), std::string::npos) << ending->Text();
}

TEST_P(NodesKernel, ThePodsNamespacesAreShared) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  auto one = RunContainer(*pod, ShellConfig("sleep 1000", "one"));
  ASSERT_OK(one);
  auto two = RunContainer(*pod, ShellConfig("sleep 1000", "two"));
  ASSERT_OK(two);
  const std::string namespaces = "for n in net ipc uts; do readlink /proc/self/ns/$n; done";
  EXPECT_EQ(ShellIn(*one, namespaces), ShellIn(*two, namespaces));
}

TEST_P(OciHandlers, ThePodsAddressAndHostname) {
  rt::PodSandboxConfig config = PodConfig();
  config.set_hostname("its-name");
  auto pod = RunPod(config, GetParam());
  ASSERT_OK(pod);
  for (const std::string name : {"one", "two"}) {
    auto container = RunContainer(*pod, ShellConfig("sleep 1000", name));
    ASSERT_OK(container);
    EXPECT_EQ(ShellIn(*container, "hostname"), "its-name\n");
    EXPECT_NE(ShellIn(*container, "ip addr").find(PodStatus(*pod)->network().ip()),
              std::string::npos);
  }
}

TEST_P(OciHandlers, TheUserAndItsGroups) {
  rt::ContainerConfig config = ShellConfig("id; grep CapEff /proc/self/status");
  auto* security = config.mutable_linux()->mutable_security_context();
  security->mutable_run_as_user()->set_value(1000);
  security->add_supplemental_groups(3000);
  auto ending = RunToTheEnd(config);
  ASSERT_OK(ending);
  EXPECT_EQ(ending->Text(),
            "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),3000\n"
            "CapEff:\t0000000000000000\n");
}

TEST_P(OciHandlers, ExecGivesOutputCodesAndTheContainersEnvironment) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  config.add_envs()->set_key("NAME");
  config.mutable_envs(0)->set_value("a b");
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  auto answer = Exec(*container, {"sh", "-c", "echo \"$NAME\"; echo no >&2; exit 3"});
  ASSERT_OK(answer);
  EXPECT_EQ(answer->stdout(), "a b\n");
  EXPECT_EQ(answer->stderr(), "no\n");
  EXPECT_EQ(answer->exit_code(), 3);
  auto timeout = Exec(*container, {"sleep", "900"}, 1);
  EXPECT_FAILS(timeout, Code::kDeadlineExceeded, "");
  for (int i = 0; i < 50; ++i) {
    if (ShellIn(*container, "pgrep -f 'sleep 900' | wc -l") == "0\n") return;
  }
  FAIL() << ShellIn(*container, "ps");
}

// What a shell answers, as with the built-in handler; and never "no such container".
TEST_P(OciHandlers, ProgramsThatCannotBeExecuted) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  for (const auto& [program, code] : kBadPrograms) {
    auto answer = Exec(*container, {program});
    ASSERT_OK(answer);
    EXPECT_EQ(answer->exit_code(), code) << program << ": " << answer->stderr();
    EXPECT_NE(answer->stderr(), "") << program;
  }
}

class OciHandlerStreams : public Streaming, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    const std::string why_not = WhyNot(GetParam());
    if (!why_not.empty()) GTEST_SKIP() << why_not;
    Streaming::SetUp();
  }
};

TEST_P(OciHandlerStreams, ProgramsThatCannotBeExecuted) {
  auto pod = RunPod(PodConfig("theirs"), GetParam());
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  container_ = *container;
  for (const auto& [program, code] : kBadPrograms) {
    auto client = Spdy(ExecUrl({program}));
    ASSERT_NE(client, nullptr);
    const CommandStreams streams = OpenCommandStreams(*client, {});
    ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
    const std::string& status = client->stream(streams.error).data;
    EXPECT_NE(status.find(StrCat("\"", code, "\"")), std::string::npos) << program << status;
  }
}

TEST_P(OciHandlers, StopSendsTheSignalAndThenKills) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  rt::ContainerConfig polite =
      ShellConfig("trap 'exit 42' USR1; echo up; while :; do sleep 0.05; done");
  polite.set_stop_signal(rt::SIGNAL_SIGUSR1);
  auto container = RunContainer(*pod, polite);
  ASSERT_OK(container);
  ASSERT_TRUE(AwaitLog(*container, "up"));
  ASSERT_OK(Stop(*container, 20));
  EXPECT_EQ(Status(*container)->exit_code(), 42);

  auto stubborn = RunContainer(
      *pod, ShellConfig("trap '' TERM; echo up; while :; do sleep 0.05; done", "stubborn"));
  ASSERT_OK(stubborn);
  ASSERT_TRUE(AwaitLog(*stubborn, "up"));
  ASSERT_OK(Stop(*stubborn, 1));
  EXPECT_EQ(Status(*stubborn)->exit_code(), 137);
}

TEST_P(OciHandlers, LimitsHoldAndCanBeChanged) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("sleep 2; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(512 << 20);
  auto container = Create(*pod, config);
  ASSERT_OK(container);
  rt::UpdateContainerResourcesRequest update;
  update.set_container_id(*container);
  update.mutable_linux()->set_memory_limit_in_bytes(256 << 20);
  ASSERT_OK(cri().Call(update));
  ASSERT_OK(StartIt(*container));
  update.mutable_linux()->set_memory_limit_in_bytes(16 << 20);
  ASSERT_OK(cri().Call(update));
  auto status = AwaitExit(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->exit_code(), 137);
  EXPECT_EQ(status->reason(), "OOMKilled");
  EXPECT_EQ(status->resources().linux().memory_limit_in_bytes(), 16 << 20);
}

TEST_P(OciHandlers, ATerminalIsOne) {
  rt::ContainerConfig config = ShellConfig("test -t 0 && test -t 1 && stty -a; echo done");
  config.set_tty(true);
  auto ending = RunToTheEnd(config);
  ASSERT_OK(ending);
  EXPECT_NE(ending->Text().find("speed"), std::string::npos) << ending->log;
  EXPECT_NE(ending->Text().find("done"), std::string::npos) << ending->log;
}

TEST_P(OciHandlers, AFailedStartSaysWhyAndLeavesNothing) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  auto container = Create(*pod, ProgramConfig("/no/such/program"));
  ASSERT_OK(container);
  EXPECT_FAILS(StartIt(*container), Code::kInvalidArgument, "/no/such/program");
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->reason(), "StartError");
  EXPECT_EQ(status->exit_code(), 128);
  ASSERT_OK(node().RemoveAllPods());
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

TEST_P(OciHandlers, WhatTheyCannotDoIsRefused) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  rt::ContainerConfig bytes = ShellConfig("true");
  bytes.add_envs()->set_key("BYTES");
  bytes.mutable_envs(0)->set_value("\xff\xfe");
  EXPECT_FAILS(Create(*pod, bytes), Code::kInvalidArgument, "envs: BYTES");
}

TEST_P(OciHandlers, ADaemonsRestartChangesNothing) {
  auto pod = RunTheirPod();
  ASSERT_OK(pod);
  auto running = RunContainer(*pod, ShellConfig("echo up; sleep 1000", "running"));
  ASSERT_OK(running);
  auto ending = RunContainer(*pod, ShellConfig("sleep 1; exit 9", "ending"));
  ASSERT_OK(ending);
  auto created = Create(*pod, ShellConfig("exit 5", "created"));
  ASSERT_OK(created);
  ASSERT_OK(node().StopDaemon(SIGKILL));
  struct timespec pause = {1, 500'000'000};
  nanosleep(&pause, nullptr);
  ASSERT_OK(node().StartDaemon());
  EXPECT_EQ(Status(*running)->state(), rt::CONTAINER_RUNNING);
  EXPECT_EQ(ShellIn(*running, "echo yes"), "yes\n");
  EXPECT_EQ(AwaitExit(*ending)->exit_code(), 9);
  ASSERT_OK(StartIt(*created));
  EXPECT_EQ(AwaitExit(*created)->exit_code(), 5);
  ASSERT_OK(Stop(*running));
  ASSERT_OK(node().RemoveAllPods());
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

// gVisor's kernel is not the node's: what it is shows in the log that it makes up for it.
TEST_F(Handlers, RunscIsGvisor) {
  const std::string why_not = WhyNot("runsc");
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  auto pod = RunPod(PodConfig(), "runsc");
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("dmesg"));
  ASSERT_OK(container);
  ASSERT_OK(AwaitExit(*container));
  EXPECT_NE(Log(*container).find("gVisor"), std::string::npos) << Log(*container);
}

const auto kRuntimes = ::testing::Values("runc", "crun", "runsc");
std::string RuntimeName(const ::testing::TestParamInfo<const char*>& tested) {
  return tested.param;
}
INSTANTIATE_TEST_SUITE_P(Debian, OciHandlers, kRuntimes, RuntimeName);
INSTANTIATE_TEST_SUITE_P(Debian, OciHandlerStreams, kRuntimes, RuntimeName);
INSTANTIATE_TEST_SUITE_P(Debian, NodesKernel, ::testing::Values("runc", "crun"), RuntimeName);

}  // namespace
}  // namespace berth::e2e
