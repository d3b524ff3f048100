// How containers end: exit codes, signals, out of memory, failed starts.
#include <ostream>

#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Exits : public E2eTest {};

TEST_F(Exits, CodesAndReasons) {
  auto zero = RunToEnd(ShellConfig("true"));
  ASSERT_OK(zero);
  EXPECT_EQ(zero->status.exit_code(), 0);
  EXPECT_EQ(zero->status.reason(), "Completed");
  auto three = RunToEnd(ShellConfig("exit 3"));
  ASSERT_OK(three);
  EXPECT_EQ(three->status.exit_code(), 3);
  EXPECT_EQ(three->status.reason(), "Error");
}

TEST_F(Exits, ASignalIsMoreThan128) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("exec sleep 1000");
  config.set_stop_signal(rt::SIGNAL_SIGINT);
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  // sleep as PID 1 ignores SIGINT, so the kill follows.
  ASSERT_OK(Stop(*container, 0));
  auto status = AwaitExit(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->exit_code(), 137);
}

TEST_F(Exits, ContainersThatLiveAMillisecond) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  for (int i = 0; i < 30; ++i) {
    rt::ContainerConfig config = ShellConfig(StrCat("echo ", i, "; exit ", i), StrCat("c", i));
    auto container = RunContainer(*pod, config);
    ASSERT_OK(container);
    auto status = AwaitExit(*container, 5000);
    ASSERT_OK(status);
    EXPECT_EQ(status->exit_code(), i);
    EXPECT_EQ(LogText(Log(*container)), StrCat(i, "\n"));
    EXPECT_GE(status->finished_at(), status->started_at());
    EXPECT_GT(status->started_at(), 0);
    ASSERT_OK(Remove(*container));
  }
}

TEST_F(Exits, OutOfMemoryIsReported) {
  // The shell itself is PID 1 and grows.
  rt::ContainerConfig config = ShellConfig("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(16 << 20);
  auto ending = RunToEnd(config);
  ASSERT_OK(ending);
  EXPECT_EQ(ending->status.exit_code(), 137);
  EXPECT_EQ(ending->status.reason(), "OOMKilled");
}

TEST_F(Exits, OutOfMemoryOfAChildIsReported) {
  // The container's first process lives on and passes on what its child came to.
  rt::ContainerConfig config =
      ShellConfig("sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'; code=$?; exit $code");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(16 << 20);
  auto ending = RunToEnd(config);
  ASSERT_OK(ending);
  EXPECT_EQ(ending->status.exit_code(), 137);
  EXPECT_EQ(ending->status.reason(), "OOMKilled");
}

// The kernel kills a child of an exec; the exec goes on and so does the container. As with
// containerd it is the container that had an OOM kill, and its status says so once it has ended.
TEST_F(Exits, OutOfMemoryOfAChildOfAnExecIsTheContainers) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("trap 'exit 3' TERM; while :; do sleep 0.05; done");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(16 << 20);
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  // The child is by far the largest, so it is the one that is chosen.
  auto exec = Exec(*container, {"sh", "-c",
                                "sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'; "
                                "echo child $?; exit 5"});
  ASSERT_OK(exec);
  EXPECT_EQ(exec->stdout(), "child 137\n");
  EXPECT_EQ(exec->exit_code(), 5) << "the exec's own";
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->state(), rt::CONTAINER_RUNNING);
  EXPECT_EQ(ShellIn(*container, "echo still here"), "still here\n");
  ASSERT_OK(Stop(*container, 10));
  status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->exit_code(), 3);
  EXPECT_EQ(status->reason(), "OOMKilled");
}

TEST_F(Exits, ProcessesOfTheContainerEndWithIt) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(
      *pod, ShellConfig("(trap '' TERM HUP; sleep 1000) & setsid sleep 1000 & sleep 0.2"));
  ASSERT_OK(container);
  ASSERT_OK(AwaitExit(*container));
  ASSERT_OK(Remove(*container));
  rt::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(*pod);
  ASSERT_OK(cri().Call(remove));
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

struct BadStart {
  const char* name;
  const char* says;
  void (*spoil)(rt::ContainerConfig&);
};

std::ostream& operator<<(std::ostream& out, const BadStart& bad) {
  return out << bad.name;
}

class FailedStarts : public E2eTest, public ::testing::WithParamInterface<BadStart> {};

TEST_P(FailedStarts, SayWhyAndLeaveAnExitedContainer) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("true");
  GetParam().spoil(config);
  auto container = Create(*pod, config);
  ASSERT_OK(container);
  auto started = StartIt(*container);
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().message().find(GetParam().says), std::string::npos)
      << started.error().message();
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->state(), rt::CONTAINER_EXITED);
  EXPECT_EQ(status->exit_code(), 128);
  EXPECT_EQ(status->reason(), "StartError");
  EXPECT_FALSE(status->message().empty());
  // The pod is none the worse for it.
  auto next = RunContainer(*pod, ShellConfig("true", "next"));
  ASSERT_OK(next);
  EXPECT_EQ(AwaitExit(*next)->exit_code(), 0);
}

INSTANTIATE_TEST_SUITE_P(Table, FailedStarts,
                         ::testing::Values(BadStart{"MissingExecutable", "no-such-program",
                                                    [](rt::ContainerConfig& config) {
                                                      config.clear_command();
                                                      config.add_command("no-such-program");
                                                    }},
                                           BadStart{"MissingPath", "/no/such/program",
                                                    [](rt::ContainerConfig& config) {
                                                      config.clear_command();
                                                      config.add_command("/no/such/program");
                                                    }},
                                           BadStart{"NotExecutable", "/etc/passwd",
                                                    [](rt::ContainerConfig& config) {
                                                      config.clear_command();
                                                      config.add_command("/etc/passwd");
                                                    }},
                                           BadStart{"WorkingDirectoryIsAFile", "/etc/passwd",
                                                    [](rt::ContainerConfig& config) {
                                                      config.set_working_dir("/etc/passwd");
                                                    }}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace berth::e2e
