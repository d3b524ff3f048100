#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <vector>

#include "base/file.h"
#include "base/process.h"
#include "daemon/instance_lock.h"
#include "daemon/memory.h"
#include "daemon/watchdog.h"

namespace berth::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = StrCat(::testing::TempDir(), "/daemon_test.XXXXXX");
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    auto parent = Open(::testing::TempDir(), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    EXPECT_TRUE(RemoveTreeAt(parent->get(), dir_.substr(dir_.rfind('/') + 1)).ok());
  }
  RunOutput Berthd(std::vector<std::string> args) {
    args.insert(args.begin(), "berthd");
    SpawnOptions options;
    options.path = BERTHD_BINARY;
    options.args = std::move(args);
    auto out = RunProgram(Context::WithTimeoutMs(20'000), options, "");
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : RunOutput();
  }

  std::string dir_;
};

TEST_F(DaemonTest, OneHolderOfADirectory) {
  auto first = LockDirectory(dir_);
  ASSERT_TRUE(first.ok()) << first.error().message();
  auto second = LockDirectory(dir_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.code(), Code::kFailedPrecondition);
  EXPECT_THAT(second.error().message(),
              AllOf(HasSubstr(dir_), HasSubstr(StrCat("pid ", getpid()))));
  first->Reset();
  EXPECT_TRUE(LockDirectory(dir_).ok());
}

TEST_F(DaemonTest, LockEndsWithItsHolder) {
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto lock = LockDirectory(dir_);
    _exit(lock.ok() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(LockDirectory(dir_).ok());
}

TEST_F(DaemonTest, LockFollowsNoSymlink) {
  ASSERT_EQ(symlink("/etc/hostname", (dir_ + "/lock").c_str()), 0);
  EXPECT_FALSE(LockDirectory(dir_).ok());
}

long AnonymousKib() {
  auto text = ReadFile("/proc/self/smaps_rollup");
  EXPECT_TRUE(text.ok());
  return strtol(text->c_str() + text->find("Anonymous:") + 10, nullptr, 10);
}

TEST_F(DaemonTest, TrimmingGivesFreeHeapBack) {
  std::vector<std::string> many;
  many.reserve(20000);
  for (int i = 0; i < 20000; ++i) many.emplace_back(1000, 'x');
  // The first and the last stay, so that what is free lies between.
  many.erase(many.begin() + 1, many.end() - 1);
  const long before = AnonymousKib();
  TrimMemory();
  EXPECT_LT(AnonymousKib(), before - 10000);
  EXPECT_EQ(many.front(), std::string(1000, 'x'));
}

TEST_F(DaemonTest, ConfigCommands) {
  RunOutput defaults = Berthd({"config", "default"});
  EXPECT_EQ(defaults.exit_code, 0);
  auto dir = Open(dir_, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(dir.ok());
  ASSERT_TRUE(AtomicWriteFileAt(dir->get(), "good.toml", defaults.out, 0644).ok());
  EXPECT_EQ(Berthd({"config", "check", dir_ + "/good.toml"}).exit_code, 0);
  ASSERT_TRUE(AtomicWriteFileAt(dir->get(), "bad.toml", "\n\nrooot = '/x'\n", 0644).ok());
  RunOutput bad = Berthd({"config", "check", dir_ + "/bad.toml"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, HasSubstr("bad.toml:3: rooot: unknown key"));
  EXPECT_EQ(Berthd({"config", "check", dir_ + "/missing.toml"}).exit_code, 1);
}

TEST_F(DaemonTest, FlagsAreChecked) {
  RunOutput relative = Berthd({"--root", "relative"});
  EXPECT_EQ(relative.exit_code, 1);
  EXPECT_THAT(relative.err, HasSubstr("command line: root"));
  EXPECT_NE(Berthd({"--no-such-flag"}).exit_code, 0);
  EXPECT_THAT(Berthd({"--version"}).out, HasSubstr("berthd "));
}

// What a client meets whose daemon hangs: it connects, and nobody answers.
TEST_F(DaemonTest, ALoopOrAServerThatDoesNotAnswerIsNotAlive) {
  auto loop = EventLoop::Start();
  ASSERT_TRUE(loop.ok());
  const std::string path = dir_ + "/hung.sock";
  Status missing = CheckAlive(**loop, path, 200);
  EXPECT_EQ(missing.code(), Code::kUnavailable);
  EXPECT_THAT(missing.error().message(), HasSubstr(path));

  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 8), 0);
  EXPECT_EQ(CheckAlive(**loop, path, 200).code(), Code::kDeadlineExceeded);

  std::promise<void> stuck;
  (*loop)->Post([&] { stuck.get_future().wait(); });
  Status hangs = CheckAlive(**loop, path, 100);
  EXPECT_EQ(hangs.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(hangs.error().message(), HasSubstr("event loop"));
  stuck.set_value();
}

}  // namespace
}  // namespace berth::daemon
