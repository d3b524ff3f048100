#include "base/process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/event_loop.h"
#include "base/socket.h"
#include "base/time.h"
#include "base/undo.h"
#include "tests/testing/temp_dir.h"

namespace berth {
namespace {

SpawnOptions Shell(const std::string& script) {
  SpawnOptions options;
  options.path = "/bin/sh";
  options.args = {"sh", "-c", script};
  return options;
}

TEST(RunProgram, OutputErrorsAndExitCode) {
  auto run = RunProgram(Context::WithTimeoutMs(10'000), Shell("cat; echo e >&2; exit 3"), "input");
  ASSERT_TRUE(run.ok()) << run.error().message();
  EXPECT_EQ(run->out, "input");
  EXPECT_EQ(run->err, "e\n");
  EXPECT_EQ(run->exit_code, 3);
}

TEST(RunProgram, NothingIsInherited) {
  setenv("BERTH_TEST_SECRET", "x", 1);
  auto run = RunProgram(
      Context::WithTimeoutMs(10'000),
      Shell("echo \"[$BERTH_TEST_SECRET]\"; for f in /proc/$$/fd/*; do echo ${f##*/}; done"), "");
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->out.substr(0, 3), "[]\n");
  EXPECT_EQ(run->out.find("\n4\n"), std::string::npos) << run->out;
}

TEST(RunProgram, ALateOneIsKilled) {
  const int64_t begin = MonotonicNs();
  auto run = RunProgram(Context::WithTimeoutMs(100), Shell("exec sleep 60"), "");
  EXPECT_EQ(run.code(), Code::kDeadlineExceeded);
  EXPECT_LT(MonotonicNs() - begin, 10'000'000'000);
}

TEST(RunProgram, MuchOutputIsCutAndNotWaitedFor) {
  auto run =
      RunProgram(Context::WithTimeoutMs(20'000), Shell("head -c 3000000 /dev/zero"), "", 1000);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->out.size(), 1000U);
}

TEST(Spawn, AMissingProgramIsNamed) {
  SpawnOptions options;
  options.path = "/nonexistent/program";
  options.args = {"program"};
  auto child = Spawn(options);
  ASSERT_FALSE(child.ok());
  EXPECT_NE(child.error().message().find("/nonexistent/program"), std::string::npos);
}

TEST(Spawn, DestroyingAChildEndsIt) {
  pid_t pid = -1;
  {
    auto child = Spawn(Shell("exec sleep 60"));
    ASSERT_TRUE(child.ok());
    pid = child->pid();
    EXPECT_TRUE(ProcessStartTime(pid).ok());
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(Context, CancelWakesAWaiter) {
  Context context = *Context::Cancellable();
  auto pipe = MakePipe();
  Status status;
  std::thread waiter([&] { status = context.Poll(pipe->read.get(), POLLIN, "wait"); });
  context.Cancel();
  waiter.join();
  EXPECT_EQ(status.code(), Code::kCancelled);
  EXPECT_EQ(context.Timeout(1000).Check("later").code(), Code::kCancelled);
}

TEST(Context, TheEarlierDeadlineHolds) {
  Context context = Context::WithTimeoutMs(10).Timeout(100'000);
  usleep(20'000);
  EXPECT_EQ(context.Check("step").code(), Code::kDeadlineExceeded);
  EXPECT_EQ(context.RemainingMs(), 0);
  EXPECT_TRUE(Context::Background().Check("step").ok());
}

TEST(Undo, StepsRunInReverseAndAllOfThem) {
  std::string order;
  UndoStack undo;
  undo.Add("first", [&] {
    order += "1";
    return Ok();
  });
  undo.Add("second", [&] {
    order += "2";
    return Status(Error(Code::kInternal, "stuck"));
  });
  undo.Add("third", [&] {
    order += "3";
    return Ok();
  });
  Status status = undo.Run();
  EXPECT_EQ(order, "321");
  EXPECT_EQ(status.error().message(), "undo second: stuck");
}

TEST(Socket, PacketsCarryBytesAndDescriptors) {
  testing::TempDir dir;
  auto fd = Open(dir.path(), O_RDONLY | O_DIRECTORY);
  auto listener = ListenSeqpacket(fd->get(), "s");
  ASSERT_TRUE(listener.ok()) << listener.error().message();
  struct stat info {};
  ASSERT_EQ(fstatat(fd->get(), "s", &info, 0), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  auto client = ConnectSeqpacket(fd->get(), "s");
  auto server = AcceptSocket(listener->get());
  ASSERT_TRUE(client.ok() && server.ok());
  auto pipe = MakePipe();
  ASSERT_TRUE(SendPacket(client->get(), "hello", {pipe->write.get()}).ok());
  auto packet = ReceivePacket(Context::WithTimeoutMs(5000), server->get(), "test");
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->bytes, "hello");
  ASSERT_EQ(packet->fds.size(), 1U);
  ASSERT_TRUE(WriteAll(packet->fds[0].get(), "through").ok());
  char buffer[16];
  EXPECT_EQ(*ReadSome(pipe->read.get(), buffer, sizeof buffer), 7U);
  EXPECT_EQ(PeerOf(server->get())->pid, getpid());
  client->Reset();
  EXPECT_TRUE(ReceivePacket(server->get())->bytes.empty());
  EXPECT_FALSE(SendPacket(server->get(), std::string(kMaxPacketBytes + 1, 'x')).ok());
}

TEST(Socket, AListenerThatAcceptsNobodyIsUnavailable) {
  testing::TempDir dir;
  auto fd = Open(dir.path(), O_RDONLY | O_DIRECTORY);
  auto listener = ListenSeqpacket(fd->get(), "s");
  ASSERT_TRUE(listener.ok()) << listener.error().message();
  // That they have closed again changes nothing: they are in its queue.
  for (int i = 0; i < 200; ++i) {
    auto client = ConnectSeqpacket(fd->get(), "s");
    if (client.ok()) continue;
    EXPECT_EQ(client.code(), Code::kUnavailable) << client.error().message();
    pollfd queue{listener->get(), POLLIN, 0};
    while (poll(&queue, 1, 0) > 0) {
      ASSERT_TRUE(AcceptSocket(listener->get()).ok());
    }
    EXPECT_TRUE(ConnectSeqpacket(fd->get(), "s").ok());
    return;
  }
  FAIL() << "its queue has no end";
}

TEST(EventLoop, WatchesPostsAndTimers) {
  auto loop = EventLoop::Start();
  ASSERT_TRUE(loop.ok());
  Mutex mutex;
  CondVar changed;
  std::string seen;
  auto add = [&](const char* what) {
    MutexLock lock(mutex);
    seen += what;
    changed.NotifyAll();
  };
  auto pipe = MakePipe();
  auto id = (*loop)->Watch(std::move(pipe->read), [&](int fd) {
    char c = 0;
    (void)ReadSome(fd, &c, 1);
    add("w");
  });
  ASSERT_TRUE(id.ok());
  (*loop)->PostAfterMs(50, [&] { add("t"); });
  (*loop)->Post([&] { add("p"); });
  auto wait_for = [&](size_t count) {
    MutexLock lock(mutex);
    for (int i = 0; i < 100 && seen.size() < count; ++i) changed.WaitMs(mutex, 100);
    return seen;
  };
  EXPECT_EQ(wait_for(2), "pt");
  ASSERT_TRUE(WriteAll(pipe->write.get(), "x").ok());
  EXPECT_EQ(wait_for(3), "ptw");
  (*loop)->Remove(*id);
  // A call that is under way may keep the descriptor a moment longer.
  for (int i = 0; i < 1000 && WriteAll(pipe->write.get(), "x").ok(); ++i) usleep(1000);
  EXPECT_FALSE(WriteAll(pipe->write.get(), "x").ok()) << "the loop has closed its end";
}

}  // namespace
}  // namespace berth

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
