// berthd as a service manager sees it: notifications, SIGHUP, the watchdog.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The service manager's end of sd_notify(3).
class NotifySocket {
 public:
  NotifySocket() : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  std::string path() const { return dir_ / "notify"; }
  // The next message, with lines as they came; empty if none comes in time.
  std::string Next(int64_t timeout_ms = 10'000) {
    timeval limit{timeout_ms / 1000, timeout_ms % 1000 * 1000};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char buffer[4096];
    const ssize_t n = recv(socket_.get(), buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "";
  }
  // The next message that has the text; empty if none comes in time.
  std::string Await(const std::string& text, int64_t timeout_ms = 10'000) {
    const int64_t until = MonotonicNs() + timeout_ms * 1'000'000;
    while (true) {
      const int64_t left_ms = (until - MonotonicNs()) / 1'000'000;
      if (left_ms <= 0) return "";
      std::string message = Next(left_ms);
      if (message.find(text) != std::string::npos) return message;
    }
  }
  void Drain() {
    while (!Next(1).empty()) {
    }
  }

 private:
  testing::TempDir dir_;
  UniqueFd socket_;
};

class Service : public ::testing::Test {
 protected:
  void StartNode(const std::string& config, std::vector<std::string> env = {}) {
    env.push_back(StrCat("NOTIFY_SOCKET=", notify_.path()));
    NodeOptions options;
    options.config = config;
    options.env = std::move(env);
    auto node = Node::Start(options);
    ASSERT_TRUE(node.ok()) << node.error().message();
    node_ = std::move(*node);
  }
  void WriteConfig(const std::string& config) {
    ASSERT_OK(MakeDirs(node_->dir() + "/conf.d", 0755));
    ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, node_->dir() + "/conf.d/50-test.toml", config, 0644));
  }
  // What is said once the daemon is ready again.
  std::string Reload() {
    EXPECT_EQ(kill(node_->daemon_pid(), SIGHUP), 0);
    const std::string reloading = notify_.Await("RELOADING=1");
    EXPECT_THAT(reloading, HasSubstr("MONOTONIC_USEC="));
    return notify_.Await("READY=1");
  }
  std::string DaemonLog() {
    auto log = ReadFile(node_->dir() + "/berthd.log");
    return log.ok() ? *log : "";
  }
  rt::StatusResponse RuntimeStatus() {
    rt::StatusRequest request;
    request.set_verbose(true);
    auto status = node_->cri().Call(request);
    EXPECT_OK(status);
    return status.ok() ? *status : rt::StatusResponse();
  }

  NotifySocket notify_;
  std::unique_ptr<Node> node_;
};

TEST_F(Service, ReadyWhenItServesAndStoppingWhenItEnds) {
  StartNode("");
  EXPECT_THAT(notify_.Next(), HasSubstr("STATUS=finding"));
  const std::string ready = notify_.Await("READY=1");
  EXPECT_THAT(ready, HasSubstr(StrCat("MAINPID=", node_->daemon_pid())));
  EXPECT_THAT(ready, HasSubstr(StrCat("STATUS=serves ", node_->socket())));
  ASSERT_OK(node_->StopDaemon(SIGTERM));
  EXPECT_THAT(notify_.Await("STOPPING=1"), HasSubstr("containers run on"));

  // A daemon that cannot start says so.
  WriteConfig("[streaming]\nport = 1\naddress = \"192.0.2.1\"\n");
  EXPECT_FALSE(node_->StartDaemon().ok());
  EXPECT_THAT(notify_.Await("cannot start"), HasSubstr("192.0.2.1"));
  WriteConfig("");
  ASSERT_OK(node_->StartDaemon());
}

TEST_F(Service, SighupTakesUpWhatItCan) {
  StartNode("log_level = 1\n");
  ASSERT_NE(notify_.Await("READY=1"), "");
  auto image = TestImage();
  ASSERT_OK(image);
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(*image);
  ASSERT_OK(node_->cri().Call(pull));

  testing::TempDir other;
  WriteConfig(StrCat("[image]\npinned = [\"", *image, "\"]\n[cni]\nconf_dir = \"", other.path(),
                     "\"\n[streaming]\nidle_timeout_s = 77\n[runtime_handlers.fresh]\n"));
  EXPECT_THAT(Reload(), HasSubstr("1 changed keys need a restart"));

  rt::ImageStatusRequest ask;
  *ask.mutable_image() = pull.image();
  auto status = node_->cri().Call(ask);
  ASSERT_OK(status);
  EXPECT_TRUE(status->image().pinned());
  const rt::StatusResponse runtime = RuntimeStatus();
  EXPECT_THAT(runtime.DebugString(), HasSubstr("name: \"fresh\""));
  EXPECT_THAT(runtime.DebugString(), HasSubstr(other.path()));  // there is no network in it
  EXPECT_FALSE(runtime.status().conditions(1).status());
  const std::string log = DaemonLog();
  EXPECT_THAT(log, HasSubstr("reload: image.pinned: [] -> [\"" + *image));
  EXPECT_THAT(log, HasSubstr("reload: log_level: 1 -> 0"));
  EXPECT_THAT(log, HasSubstr("streaming.idle_timeout_s: 14400 -> 77: needs a restart of berthd"));

  // Back again; what waits for a restart is told until it comes.
  WriteConfig("[streaming]\nidle_timeout_s = 77\n");
  EXPECT_THAT(Reload(), HasSubstr("1 changed keys need a restart"));
  status = node_->cri().Call(ask);
  ASSERT_OK(status);
  EXPECT_FALSE(status->image().pinned());
  EXPECT_TRUE(RuntimeStatus().status().conditions(1).status());
}

TEST_F(Service, AWrongFileChangesNothing) {
  StartNode("[image]\npinned = [\"a\"]\n");
  ASSERT_NE(notify_.Await("READY=1"), "");
  const std::string before = RuntimeStatus().info().at("config");
  WriteConfig("[image]\npinned = []\nno_such_key = 1\n");
  EXPECT_THAT(Reload(), HasSubstr("configuration refused"));
  EXPECT_THAT(DaemonLog(), HasSubstr("50-test.toml:3: image.no_such_key: unknown key; the former "
                                     "configuration stays"));
  EXPECT_EQ(RuntimeStatus().info().at("config"), before);
  WriteConfig("");
  EXPECT_THAT(Reload(), Not(HasSubstr("refused")));
}

// One thread of another process, stopped by ptrace(2) while the others go on.
class StoppedThread {
 public:
  StoppedThread(pid_t process, const std::string& name) {
    const std::string tasks = StrCat("/proc/", process, "/task");
    for (const auto& entry : std::filesystem::directory_iterator(tasks)) {
      auto comm = ReadFile(entry.path() / "comm");
      if (!comm.ok() || Trim(*comm) != name) continue;
      tid_ = ParseNumber<pid_t>(entry.path().filename().string()).value_or(-1);
    }
    EXPECT_EQ(ptrace(PTRACE_SEIZE, tid_, nullptr, nullptr), 0) << name;
    EXPECT_EQ(ptrace(PTRACE_INTERRUPT, tid_, nullptr, nullptr), 0);
    EXPECT_EQ(waitpid(tid_, nullptr, __WALL), tid_);
  }
  ~StoppedThread() { ptrace(PTRACE_DETACH, tid_, nullptr, nullptr); }

 private:
  pid_t tid_ = -1;
};

TEST_F(Service, TheWatchdogStarvesWhileTheEventLoopHangs) {
  StartNode("", {"WATCHDOG_USEC=2000000"});
  ASSERT_NE(notify_.Await("READY=1"), "");
  for (int i = 0; i < 3; ++i) ASSERT_NE(notify_.Await("WATCHDOG=1"), "");
  {
    StoppedThread loop(node_->daemon_pid(), "event-loop");
    EXPECT_THAT(notify_.Await("hangs"), HasSubstr("event loop"));
    notify_.Drain();
    EXPECT_EQ(notify_.Await("WATCHDOG=1", 2'500), "");
  }
  EXPECT_THAT(notify_.Await("WATCHDOG=1"), HasSubstr("STATUS=serves"));
  EXPECT_THAT(DaemonLog(), HasSubstr("watchdog: the daemon answers again"));
}

}  // namespace
}  // namespace berth::e2e
