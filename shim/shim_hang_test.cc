// What does not answer must hold up who has asked it, and nobody else.
#include <gmock/gmock.h>
#include <signal.h>

#include <optional>

#include "base/time.h"
#include "shim/shim_fixture.h"
#include "tests/testing/silent_file_system.h"

namespace berth::shim {
namespace {

using ::testing::HasSubstr;

class ShimHangTest : public ShimTest {
 protected:
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    silent_.emplace(dir_ + "/silent");
    if (!silent_->mounted()) GTEST_SKIP() << "needs FUSE";
    wire::MountPlan bind;
    bind.kind = wire::MountKind::kBind;
    bind.source = dir_ + "/silent";
    bind.destination = "/silent";
    plan_.mounts.push_back(bind);
  }
  void TearDown() override {
    silent_.reset();
    ShimTest::TearDown();
  }

  std::optional<berth::testing::SilentFileSystem> silent_;
};

TEST_F(ShimHangTest, AnExecOfAProgramThatIsNotFoundHoldsUpNobody) {
  auto launched = Launch({"sleep", "60"});
  ASSERT_TRUE(launched.ok()) << launched.error().message();
  auto connection = ConnectSeqpacket(state_dir_.get(), wire::kSocketName);
  ASSERT_TRUE(connection.ok());
  wire::Exec request;
  request.args = {"/silent/program"};
  ASSERT_TRUE(SendPacket(connection->get(), wire::Pack(wire::Type::kExec, request)).ok());
  ASSERT_TRUE(silent_->AwaitLookup());

  std::string output;
  const int64_t begun = MonotonicNs();
  auto other = RunExec({"echo", "served"}, &output);
  ASSERT_TRUE(other.ok()) << other.error().message();
  EXPECT_EQ(output, "served\n");
  EXPECT_LT(MonotonicNs() - begun, 5'000'000'000);

  auto started = Receive<wire::State>(connection->get(), wire::Type::kExecStarted);
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(started.error().message(), HasSubstr("file system that hangs"));
  EXPECT_TRUE(RunExec({"true"}, &output).ok());
}

TEST_F(ShimHangTest, ACallerThatLeavesLeavesNothing) {
  auto launched = Launch({"sleep", "60"});
  ASSERT_TRUE(launched.ok()) << launched.error().message();
  {
    auto connection = ConnectSeqpacket(state_dir_.get(), wire::kSocketName);
    wire::Exec request;
    request.args = {"/silent/program"};
    ASSERT_TRUE(SendPacket(connection->get(), wire::Pack(wire::Type::kExec, request)).ok());
    ASSERT_TRUE(silent_->AwaitLookup());
  }
  std::string output;
  ASSERT_TRUE(RunExec({"true"}, &output).ok());
  silent_->End();
  // The shim reaps it at once; all processes of the container are then its first and the exec's.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(RunExec({"sh", "-c", "echo /proc/[0-9]*"}, &output).ok());
    if (Split(Trim(output), ' ').size() == 2) return;
    usleep(10'000);
  }
  FAIL() << output;
}

// An OCI runtime that does nothing but to start a process, and whose `kill` hangs.
constexpr char kHangingRuntime[] = R"(#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    create|start|kill|delete) verb=$1 ;;
    --pid-file) pid_file=$2 ;;
    --log) log=$2 ;;
  esac
  shift
done
case $verb in
  create) sleep 1000 & echo $! > $pid_file ;;
  kill) sleep 1001 & echo $! > $log.child; wait ;;
esac
)";

TEST_F(ShimTest, ARuntimesCommandThatHangsIsKilledWithAllThatItStarted) {
  const UniqueFd dir = std::move(*Open(dir_, O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(AtomicWriteFileAt(dir.get(), "runtime", kHangingRuntime, 0755).ok());
  plan_.oci_runtime = {dir_ + "/runtime", {}, "id", dir_ + "/state"};
  auto launched = Launch({});
  ASSERT_TRUE(launched.ok()) << launched.error().message();
  const int64_t begun = MonotonicNs();
  ASSERT_TRUE(
      SendPacket(socket_.get(), wire::Pack(wire::Type::kSignal, wire::Signal{SIGTERM})).ok());
  auto answer = Receive<wire::State>(socket_.get(), wire::Type::kDone);
  // A stop waits 5 s for it.
  EXPECT_LT(MonotonicNs() - begun, 5'000'000'000);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.code(), Code::kDeadlineExceeded);
  auto text = ReadFile(dir_ + "/state/runtime.log.child");
  ASSERT_TRUE(text.ok());
  const pid_t left = *ParseNumber<pid_t>(Trim(*text));
  for (int i = 0; i < 1000 && kill(left, 0) == 0; ++i) usleep(1000);
  EXPECT_NE(kill(left, 0), 0);
  EXPECT_EQ(kill(launched->pid, SIGKILL), 0);
  auto exit = AwaitExit();
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->exit_code, 137);
}

}  // namespace
}  // namespace berth::shim
