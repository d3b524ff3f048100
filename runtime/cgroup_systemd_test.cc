// What only systemd does to cgroups. Needs it as process 1: hack/test --vm.
#include "runtime/cgroup_systemd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/process.h"

namespace berth::runtime {
namespace {

using ::testing::HasSubstr;

// What systemctl prints.
std::string Systemctl(std::vector<std::string> args) {
  args.insert(args.begin(), "systemctl");
  SpawnOptions options;
  options.path = "/bin/systemctl";
  options.args = std::move(args);
  options.env = {kProgramsPath};
  auto output = RunProgram(Context::WithTimeoutMs(60'000), options, "");
  if (!output.ok()) return output.error().message();
  return output->out + output->err;
}

pid_t StartSleeper() {
  const pid_t pid = fork();
  if (pid == 0) {
    while (true) pause();
  }
  return pid;
}

void End(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

bool Opens(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  return fd.ok();
}

class SystemdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto driver = NewCgroupDriver("systemd");
    if (driver.code() == Code::kFailedPrecondition) GTEST_SKIP() << driver.error().message();
    ASSERT_TRUE(driver.ok()) << driver.error().message();
    driver_ = *std::move(driver);
    pod_ = driver_->PodPath(top_, "pod");
    path_ = driver_->ContainerPath(pod_, "c1");
    shim_ = StartSleeper();
  }
  void TearDown() override {
    if (!driver_) return;
    End(shim_);
    EXPECT_TRUE(driver_->Remove(top_).ok());
  }
  // Of the scope of the container.
  std::string Property(const std::string& name) {
    return std::string(Trim(Systemctl({"show", "-p", name, "--value", "berth-c1.scope"})));
  }
  // Starts that many containers one after another in each of some threads; returns how many of them
  // failed, and prints why.
  int StartMany(int threads, int each) {
    std::atomic<int> failed = 0;
    std::vector<std::thread> running;
    running.reserve(static_cast<size_t>(threads));
    for (int t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) failed += StartOne(StrCat("m", t, "x", i)) ? 0 : 1;
      });
    }
    for (std::thread& thread : running) thread.join();
    return failed;
  }
  bool StartOne(const std::string& id) {
    const pid_t shim = StartSleeper();
    const std::string path = driver_->ContainerPath(pod_, id);
    LinuxResources r;
    r.memory_limit_bytes = 32 << 20;
    Status status = driver_->Create(path, r, {}, shim);
    if (status.ok()) {
      auto limit = ReadFile(StrCat("/sys/fs/cgroup", path, "/memory.max"));
      if (!limit.ok() || Trim(*limit) != StrCat(32 << 20)) {
        status = Error(Code::kInternal, "the limit is not there");
      }
    }
    if (status.ok()) status = driver_->Remove(path);
    End(shim);
    if (!status.ok()) ADD_FAILURE() << id << ": " << status.error().message();
    return status.ok();
  }

  std::unique_ptr<CgroupDriver> driver_;
  pid_t shim_ = 0;
  const std::string top_ = StrCat("/berthsystemd", getpid(), ".slice");
  std::string pod_, path_;
};

TEST_F(SystemdTest, LimitsAreUnitPropertiesAsWell) {
  LinuxResources r;
  r.memory_limit_bytes = 64 << 20;
  r.cpu_shares = 512;
  r.cpu_quota_us = 50'000;
  r.cpu_period_us = 100'000;
  r.unified = {{"pids.max", "77"}};
  Status status = driver_->Create(path_, r, {}, shim_);
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_EQ(Property("MemoryMax"), StrCat(64 << 20));
  EXPECT_EQ(Property("CPUWeight"), "59");
  EXPECT_EQ(Property("CPUQuotaPerSecUSec"), "500ms");
  EXPECT_EQ(Property("TasksMax"), "77");
  EXPECT_EQ(Property("Delegate"), "yes");
  EXPECT_EQ(Property("Slice"), pod_.substr(pod_.rfind('/') + 1));
  LinuxResources update;
  update.memory_limit_bytes = 128 << 20;
  auto updated = driver_->Update(path_, update);
  ASSERT_TRUE(updated.ok()) << updated.error().message();
  EXPECT_EQ(Property("MemoryMax"), StrCat(128 << 20));
  // A pod's own cgroup has them, too.
  ASSERT_TRUE(driver_->Create(pod_, r, {}, 0).ok());
  EXPECT_THAT(Systemctl({"show", "-p", "MemoryMax", pod_.substr(pod_.rfind('/') + 1)}),
              HasSubstr(StrCat(64 << 20)));
}

TEST_F(SystemdTest, WithoutALimitThereIsNone) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  EXPECT_EQ(Property("MemoryMax"), "infinity");
  EXPECT_EQ(Property("TasksMax"), "infinity");
}

// With all that a container has none of, and then back.
TEST_F(SystemdTest, AnUndoneUpdateLeavesThePropertiesAsTheyWere) {
  const std::vector<std::string> names = {"MemoryMax", "CPUQuotaPerSecUSec", "TasksMax"};
  auto properties = [&] {
    std::string all;
    for (const std::string& name : names) all += StrCat(name, "=", Property(name), " ");
    return all;
  };
  LinuxResources change;
  change.memory_limit_bytes = 128 << 20;
  change.cpu_quota_us = 50'000;
  change.unified = {{"pids.max", "77"}};
  LinuxResources some;
  some.memory_limit_bytes = 64 << 20;
  some.cpu_quota_us = 30'000;
  for (const LinuxResources& former : {LinuxResources(), some}) {
    ASSERT_TRUE(driver_->Create(path_, former, {}, shim_).ok());
    const std::string before = properties();
    auto limits = driver_->LimitsBefore(path_, change);
    ASSERT_TRUE(limits.ok()) << limits.error().message();
    Status updated = driver_->Update(path_, change);
    ASSERT_TRUE(updated.ok()) << updated.error().message();
    EXPECT_EQ(properties(), "MemoryMax=134217728 CPUQuotaPerSecUSec=500ms TasksMax=77 ");
    Status undone = driver_->Restore(path_, *limits);
    EXPECT_TRUE(undone.ok()) << undone.error().message();
    EXPECT_EQ(properties(), before);
    ASSERT_TRUE(driver_->Remove(path_).ok());
    End(shim_);
    shim_ = StartSleeper();
    for (int i = 0; i < 100 && Property("LoadState") != "not-found"; ++i) usleep(20'000);
  }
}

// Systemd cannot be told: the files are put back.
TEST_F(SystemdTest, AnUpdateThatSystemdRefusesChangesNothing) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  const std::string file = StrCat("/sys/fs/cgroup", path_, "/memory.max");
  // With its unit gone from under the cgroup systemd knows no such name.
  const std::string stray = StrCat(path_.substr(0, path_.rfind('/')), "/stray.scope/container");
  const std::string at = StrCat("/sys/fs/cgroup", stray.substr(0, stray.rfind('/')));
  ASSERT_EQ(mkdir(at.c_str(), 0755), 0);
  ASSERT_EQ(mkdir((at + "/container").c_str(), 0755), 0);
  LinuxResources change;
  change.unified = {{"pids.max", "77"}};
  change.cpu_quota_us = 50'000;
  Status updated = driver_->Update(stray, change);
  ASSERT_FALSE(updated.ok());
  EXPECT_THAT(updated.error().message(), HasSubstr("stray.scope"));
  for (const char* name : {"/container/pids.max", "/container/cpu.max"}) {
    auto text = ReadFile(at + name);
    EXPECT_THAT(text.ok() ? *text : "max", HasSubstr("max")) << name;
  }
  EXPECT_EQ(Trim(*ReadFile(file)), "max");
}

TEST_F(SystemdTest, ADaemonReloadTakesNoDeviceAway) {
  ASSERT_TRUE(
      driver_
          ->Create(
              path_, {},
              {{false, 'a', -1, -1, "rwm"}, {true, 'c', 1, 3, "rwm"}, {true, 'c', -1, -1, "m"}},
              shim_)
          .ok());
  char dir[] = "/tmp/berth-devices-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const std::string null = StrCat(dir, "/null"), full = StrCat(dir, "/full");
  ASSERT_EQ(mknod(null.c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  ASSERT_EQ(mknod(full.c_str(), S_IFCHR | 0600, makedev(1, 7)), 0);
  const std::string procs = driver_->Join(path_).directory + "/cgroup.procs";
  const std::string stop = StrCat(dir, "/stop");
  const pid_t pid = fork();
  if (pid == 0) {
    if (!WriteFile(procs, "0").ok()) _exit(1);
    while (access(stop.c_str(), F_OK) != 0) {
      if (!Opens(null)) _exit(2);
      if (Opens(full)) _exit(3);
    }
    _exit(0);
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Systemctl({"daemon-reload"}), "");
  ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, stop, "", 0600).ok());
  int result = 0;
  waitpid(pid, &result, 0);
  EXPECT_EQ(WEXITSTATUS(result), 0);
  std::filesystem::remove_all(dir);
}

TEST_F(SystemdTest, FiftyStartsDuringDaemonReloads) {
  std::atomic<bool> stop = false;
  std::thread reloads([&] {
    while (!stop) Systemctl({"daemon-reload"});
  });
  EXPECT_EQ(StartMany(10, 5), 0);
  stop = true;
  reloads.join();
}

TEST_F(SystemdTest, AHundredStartsAtOnceDoNotStall) {
  EXPECT_EQ(StartMany(100, 1), 0);
}

// The new process 1 knows nothing of the old one's connections.
TEST_F(SystemdTest, StartsDuringADaemonReexecAreTriedAgain) {
  std::thread reexec([] { Systemctl({"daemon-reexec"}); });
  EXPECT_EQ(StartMany(5, 4), 0);
  reexec.join();
}

TEST_F(SystemdTest, TheMessageBusIsNotNeeded) {
  constexpr char kSocket[] = "/run/dbus/system_bus_socket", kAway[] = "/run/dbus/away";
  Systemctl({"stop", "dbus.service"});
  ASSERT_EQ(rename(kSocket, kAway), 0);
  EXPECT_TRUE(StartOne("nobus"));
  EXPECT_EQ(rename(kAway, kSocket), 0);
}

TEST_F(SystemdTest, AScopeOfThatNameIsReplaced) {
  const pid_t other = StartSleeper();
  ASSERT_TRUE(driver_->Create(path_, {}, {}, other).ok());
  Status status = driver_->Create(path_, {}, {}, shim_);
  EXPECT_TRUE(status.ok()) << status.error().message();
  int result = 0;
  EXPECT_EQ(waitpid(other, &result, 0), other);
  EXPECT_TRUE(WIFSIGNALED(result));
  EXPECT_THAT(*ReadFile(StrCat("/proc/", shim_, "/cgroup")), HasSubstr("berth-c1.scope/shim"));
}

TEST_F(SystemdTest, AScopeEndsWithItsShim) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  ASSERT_TRUE(driver_->Remove(path_).ok());
  End(shim_);
  shim_ = StartSleeper();
  for (int i = 0; i < 100 && Property("LoadState") != "not-found"; ++i) usleep(20'000);
  EXPECT_EQ(Property("LoadState"), "not-found");
}

TEST(SystemdBusTest, ASocketThatIsNotThereIsNamed) {
  auto bus = SystemdBus::Connect("/nonexistent/socket");
  ASSERT_FALSE(bus.ok());
  EXPECT_EQ(bus.code(), Code::kUnavailable);
  EXPECT_THAT(bus.error().message(), HasSubstr("/nonexistent/socket"));
}

}  // namespace
}  // namespace berth::runtime
