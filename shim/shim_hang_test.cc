// What does not answer must hold up who has asked it, and nobody else.
#include <gmock/gmock.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <atomic>
#include <optional>
#include <thread>

#include "base/time.h"
#include "shim/shim_fixture.h"

namespace berth::shim {
namespace {

using testing::HasSubstr;

// Speaks FUSE as far as to be mounted, and never answers when a name is looked up. The kernel
// does not even let a process be killed that waits for such an answer.
class SilentFileSystem {
 public:
  explicit SilentFileSystem(const std::string& path) : path_(path) {
    mkdir(path.c_str(), 0755);
    fuse_.Reset(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options =
        StrCat("fd=", fuse_.get(), ",rootmode=40000,user_id=0,group_id=0,allow_other");
    mounted_ = fuse_.ok() && mount("silent", path.c_str(), "fuse", 0, options.c_str()) == 0;
    stop_.Reset(eventfd(0, EFD_CLOEXEC));
    if (mounted_) thread_ = std::thread([this] { Serve(); });
  }
  ~SilentFileSystem() { End(); }

  bool mounted() const { return mounted_; }
  bool AwaitLookup() const {
    for (int i = 0; i < 5000 && !looked_up_; ++i) usleep(1000);
    return looked_up_;
  }
  // Whoever waits for an answer gets an error.
  void End() {
    if (!thread_.joinable()) return;
    const uint64_t one = 1;
    (void)!write(stop_.get(), &one, sizeof one);
    thread_.join();
    fuse_.Reset();
    umount2(path_.c_str(), MNT_DETACH);
  }

 private:
  void Serve() {
    std::string buffer(256 << 10, '\0');
    while (true) {
      pollfd fds[2] = {{fuse_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      poll(fds, 2, -1);
      if (fds[1].revents != 0) return;
      if (read(fuse_.get(), buffer.data(), buffer.size()) < 0) continue;
      const auto* request = reinterpret_cast<const fuse_in_header*>(buffer.data());
      Answer(*request);
    }
  }
  void Answer(const fuse_in_header& request) {
    if (request.opcode == FUSE_INIT) {
      fuse_init_out init{};
      init.major = FUSE_KERNEL_VERSION;
      init.minor = 31;
      init.max_write = 4096;
      return Reply(request, 0, &init, sizeof init);
    }
    if (request.opcode == FUSE_GETATTR) {
      fuse_attr_out attributes{};
      attributes.attr_valid = 1000;
      attributes.attr.ino = 1;
      attributes.attr.mode = S_IFDIR | 0755;
      attributes.attr.nlink = 2;
      return Reply(request, 0, &attributes, sizeof attributes);
    }
    if (request.opcode == FUSE_LOOKUP) {
      looked_up_ = true;
      return;
    }
    Reply(request, -ENOSYS, nullptr, 0);
  }
  void Reply(const fuse_in_header& request, int error, void* body, size_t size) {
    fuse_out_header header{static_cast<uint32_t>(sizeof(fuse_out_header) + size), error,
                           request.unique};
    iovec parts[2] = {{&header, sizeof header}, {body, size}};
    (void)!writev(fuse_.get(), parts, size > 0 ? 2 : 1);
  }

  std::string path_;
  UniqueFd fuse_, stop_;
  bool mounted_ = false;
  std::atomic<bool> looked_up_ = false;
  std::thread thread_;
};

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

  std::optional<SilentFileSystem> silent_;
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
