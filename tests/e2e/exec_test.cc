// ExecSync: output, exit codes, time-outs, identity.
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class ExecSync : public InAContainer {
 protected:
  // How many the container has for its execs.
  size_t ExecCgroups() {
    std::error_code error;
    std::filesystem::path root("/sys/fs/cgroup");
    if (HasCgroupV1()) root /= "pids";
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(
             root.string() + node().CgroupOf(pod_, container_), error)) {
      count += entry.path().filename().string().starts_with("exec-") ? 1 : 0;
    }
    EXPECT_FALSE(error) << error.message();
    return count;
  }
};

TEST_F(ExecSync, BothStreamsAndTheExitCode) {
  auto result = Exec(container_, {"sh", "-c", "echo out; echo err >&2; exit 5"});
  ASSERT_OK(result);
  EXPECT_EQ(result->stdout(), "out\n");
  EXPECT_EQ(result->stderr(), "err\n");
  EXPECT_EQ(result->exit_code(), 5);
}

TEST_F(ExecSync, OutputIsBytes) {
  auto result = Exec(container_, {"printf", "\\377\\000x"});
  ASSERT_OK(result);
  EXPECT_EQ(result->stdout(), std::string("\xff\0x", 3));
}

TEST_F(ExecSync, LargeOutputOnBothStreams) {
  auto result = Exec(container_, {"sh", "-c",
                                  "head -c 1000000 /dev/zero & head -c 1000000 /dev/zero >&2; "
                                  "wait"});
  ASSERT_OK(result);
  EXPECT_EQ(result->stdout().size(), 1'000'000u);
  EXPECT_EQ(result->stderr().size(), 1'000'000u);
}

TEST_F(ExecSync, EndlessOutputIsCutAndDoesNotHurt) {
  auto result = Exec(container_, {"sh", "-c", "head -c 40m /dev/zero; exit 3"}, 60);
  ASSERT_OK(result);
  EXPECT_LE(result->stdout().size(), 16u << 20);
  EXPECT_EQ(result->exit_code(), 3);
}

TEST_F(ExecSync, ATimeOutKillsTheProcessAndItsChildren) {
  const int64_t started = MonotonicNs();
  auto result =
      Exec(container_, {"sh", "-c", "sleep 4242 & (setsid sleep 4243 &) ; sleep 4244"}, 1);
  const int64_t took_ms = (MonotonicNs() - started) / 1'000'000;
  EXPECT_FAILS(result, Code::kDeadlineExceeded, "");
  EXPECT_GE(took_ms, 900);
  EXPECT_LT(took_ms, 5000);
  // They are dying at least: the last of it takes the kernel its own time.
  EXPECT_EQ(ShellIn(container_,
                    "for i in $(seq 40); do ps | grep -q 'sleep 424[2-4]' || exit 0; sleep 0.05; "
                    "done; ps"),
            "");
  // The container itself lives on.
  EXPECT_EQ(Status(container_)->state(), rt::CONTAINER_RUNNING);
}

// The conformance suite looks for it at once. Its memory is what takes its death a while.
TEST_F(ExecSync, WhatATimeOutHasKilledIsGoneForTheNextExec) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_FAILS(Exec(container_, {"dd", "if=/dev/zero", "of=/dev/null", "bs=100M"}, 1),
                 Code::kDeadlineExceeded, "");
    EXPECT_EQ(ShellIn(container_, "grep -lx dd /proc/[0-9]*/comm 2>/dev/null; true"), "");
  }
}

// Its cgroup is busy when it ends, and must not stay for the container's life.
TEST_F(ExecSync, WhatAnExecLeavesBehindTakesItsCgroupAlong) {
  ASSERT_OK(Exec(container_, {"sh", "-c", "sleep 0.3 >/dev/null 2>&1 &"}));
  EXPECT_EQ(ExecCgroups(), 1u);
  for (int i = 0; i < 50 && ExecCgroups() != 0; ++i) {
    usleep(100'000);
    ASSERT_OK(Exec(container_, {"true"}));
  }
  EXPECT_EQ(ExecCgroups(), 0u);
}

TEST_F(ExecSync, AChildInTheBackgroundDoesNotHoldTheAnswerUp) {
  const int64_t started = MonotonicNs();
  auto result = Exec(container_, {"sh", "-c", "sleep 30 & echo done"});
  ASSERT_OK(result);
  EXPECT_EQ(result->stdout(), "done\n");
  EXPECT_LT(MonotonicNs() - started, int64_t{15} * 1'000'000'000);
}

TEST_F(ExecSync, MissingAndUnexecutableCommandsAre127And126) {
  auto missing = Exec(container_, {"no-such-program"});
  ASSERT_OK(missing);
  EXPECT_EQ(missing->exit_code(), 127);
  EXPECT_NE(missing->stderr().find("no-such-program"), std::string::npos) << missing->stderr();
  auto data = Exec(container_, {"/etc/passwd"});
  ASSERT_OK(data);
  EXPECT_EQ(data->exit_code(), 126);
}

TEST_F(ExecSync, OnlyWhereSomethingRuns) {
  EXPECT_FAILS(Exec(std::string(64, '0'), {"true"}), Code::kNotFound, "0000");
  EXPECT_FAILS(Exec(container_, {}), Code::kInvalidArgument, "cmd");
  auto created = Create(pod_, ShellConfig("true", "created"));
  ASSERT_OK(created);
  EXPECT_FAILS(Exec(*created, {"true"}), Code::kFailedPrecondition, "");
  ASSERT_OK(Stop(container_));
  EXPECT_FAILS(Exec(container_, {"true"}), Code::kFailedPrecondition, "");
}

TEST_F(ExecSync, RunsInTheContainersNamespacesAndCgroup) {
  EXPECT_EQ(ShellIn(container_, "ls -l /proc/self/ns | sed 's/.*-> //'"),
            ShellIn(container_, "ls -l /proc/1/ns | sed 's/.*-> //'"));
  // It may be in a cgroup of its own below the container's.
  const std::string of_init = ShellIn(container_, "cat /proc/1/cgroup");
  const std::string own = ShellIn(container_, "cat /proc/self/cgroup");
  const std::vector<std::string_view> init_lines = Split(of_init, '\n');
  const std::vector<std::string_view> own_lines = Split(own, '\n');
  ASSERT_EQ(own_lines.size(), init_lines.size());
  for (size_t i = 0; i < own_lines.size(); ++i) {
    EXPECT_TRUE(own_lines[i].starts_with(init_lines[i])) << own_lines[i];
  }
}

TEST_F(ExecSync, HasTheContainersIdentityAndEnvironment) {
  rt::ContainerConfig config = ShellConfig("sleep 1000", "other");
  config.mutable_linux()->mutable_security_context()->mutable_run_as_user()->set_value(1000);
  config.set_working_dir("/tmp");
  auto* env = config.add_envs();
  env->set_key("MINE");
  env->set_value("yes");
  auto other = RunContainer(pod_, config);
  ASSERT_OK(other);
  EXPECT_EQ(ShellIn(*other, "id -u; pwd; echo $MINE"), "1000\n/tmp\nyes\n");
  const std::string names = "'^(CapEff|CapBnd|CapPrm|CapAmb|Seccomp|NoNewPrivs):'";
  EXPECT_EQ(ShellIn(*other, StrCat("grep -E ", names, " /proc/self/status")),
            ShellIn(*other, StrCat("grep -E ", names, " /proc/1/status")));
}

TEST_F(ExecSync, ManyAtOnceLeaveNoDescriptorsBehind) {
  auto descriptors = [this] {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(StrCat("/proc/", node().daemon_pid(), "/fd"))) {
      ++count;
    }
    return count;
  };
  for (int i = 0; i < 5; ++i) ShellIn(container_, "true");
  const size_t before = descriptors();
  for (int i = 0; i < 100; ++i) ShellIn(container_, "true");
  EXPECT_LE(descriptors(), before + 3);
}

}  // namespace
}  // namespace berth::e2e
