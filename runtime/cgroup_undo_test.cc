// Updates of a real cgroup and their undo, with each driver that this machine can have. Needs root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/undo.h"
#include "runtime/cgroup.h"
#include "runtime/oom_scores.h"

namespace berth::runtime {
namespace {

using ::testing::HasSubstr;

#define SKIP_UNLESS_SUPPORTED(resources)                              \
  if (Status lacks = driver_->CheckSupported(resources); !lacks.ok()) \
  GTEST_SKIP() << lacks.error().message()

struct Driver {
  const char* name;
  const char* mount_root;
  bool systemd = false;
};
void PrintTo(const Driver& driver, std::ostream* out) {
  *out << driver.name;
}

class CgroupUndoTest : public ::testing::TestWithParam<Driver> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    const Driver& wanted = GetParam();
    if (!std::filesystem::exists(wanted.mount_root)) {
      GTEST_SKIP() << wanted.mount_root << " does not exist here";
    }
    auto driver =
        wanted.systemd ? NewCgroupDriver("systemd") : NewCgroupfsDriver(wanted.mount_root);
    if (wanted.systemd && driver.code() == Code::kFailedPrecondition) {
      GTEST_SKIP() << driver.error().message();
    }
    ASSERT_TRUE(driver.ok()) << driver.error().message();
    driver_ = *std::move(driver);
    top_ = StrCat("/berthundo", getpid(), wanted.systemd ? ".slice" : "");
    path_ = driver_->ContainerPath(driver_->PodPath(top_, "pod"), "u1");
    shim_ = fork();
    if (shim_ == 0) {
      while (true) pause();
    }
  }
  void TearDown() override {
    if (!driver_) return;
    kill(shim_, SIGKILL);
    waitpid(shim_, nullptr, 0);
    EXPECT_TRUE(driver_->Kill(top_).ok());
    Status removed = driver_->Remove(top_);
    EXPECT_TRUE(removed.ok()) << removed.error().message();
    for (pid_t pid : children_) waitpid(pid, nullptr, 0);
  }
  bool Has(const std::string& controller) {
    auto dir = driver_->OpenDirectory(path_, controller);
    if (!dir.ok()) return false;
    if (driver_->version() == CgroupVersion::kV1) return true;
    auto names = ReadFileAt(dir->get(), "cgroup.controllers");
    return names.ok() &&
           StrCat(" ", Trim(*names), " ").find(StrCat(" ", controller, " ")) != std::string::npos;
  }
  // Every limit of the cgroup, by file. A file without a value, or that is not there, is left out.
  std::map<std::string, std::string> Limits() {
    std::map<std::string, std::string> limits;
    for (const auto& [controller, files] : std::map<std::string, std::vector<std::string>>{
             {"cpu",
              {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.weight", "cpu.max"}},
             {"memory",
              {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.high",
               "memory.swap.max"}},
             {"cpuset", {"cpuset.cpus", "cpuset.mems"}},
             {"pids", {"pids.max"}}}) {
      auto dir = driver_->OpenDirectory(path_, controller);
      if (!dir.ok()) continue;
      for (const std::string& file : files) {
        auto text = ReadFileAt(dir->get(), file);
        if (text.ok()) limits[file] = std::string(Trim(*text));
      }
    }
    return limits;
  }
  // A change of all that the machine can change.
  LinuxResources Everything() {
    LinuxResources r;
    if (Has("cpu")) {
      r.cpu_shares = 333;
      r.cpu_quota_us = 44'000;
      r.cpu_period_us = 55'000;
    }
    if (Has("memory")) r.memory_limit_bytes = r.memory_swap_limit_bytes = 77 << 20;
    if (Has("cpuset")) r.cpuset_cpus = r.cpuset_mems = "0";
    if (Has("pids")) r.unified = {{"pids.max", "88"}};
    return r;
  }
  // A process in it that runs `body`.
  pid_t StartIn(const std::function<void()>& body) {
    const CgroupJoin join = driver_->Join(path_);
    const pid_t pid = fork();
    if (pid != 0) {
      children_.push_back(pid);
      return pid;
    }
    for (const std::string& file : join.tasks_files) {
      if (!WriteFile(file, "0").ok()) _exit(97);
    }
    if (!join.directory.empty() && !WriteFile(join.directory + "/cgroup.procs", "0").ok())
      _exit(98);
    body();
    _exit(0);
  }
  void AwaitProcesses(size_t count) {
    for (int i = 0; i < 500; ++i) {
      auto pids = driver_->Processes(path_);
      if (pids.ok() && pids->size() >= count) return;
      usleep(10'000);
    }
    FAIL() << "no " << count << " processes";
  }
  static std::string ScoreOf(int32_t pid) {
    auto text = ReadFile(StrCat("/proc/", pid, "/oom_score_adj"));
    return text.ok() ? std::string(Trim(*text)) : "gone";
  }

  std::unique_ptr<CgroupDriver> driver_;
  std::string top_, path_;
  pid_t shim_ = 0;
  std::vector<pid_t> children_;
};

TEST_P(CgroupUndoTest, LimitsThatWereNotSetAreNotSetAfterwards) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  const auto before = Limits();
  if (before.empty()) GTEST_SKIP() << "no controllers here";
  auto former = driver_->LimitsBefore(path_, Everything());
  ASSERT_TRUE(former.ok()) << former.error().message();
  EXPECT_EQ(Limits(), before);
  Status updated = driver_->Update(path_, Everything());
  ASSERT_TRUE(updated.ok()) << updated.error().message();
  EXPECT_NE(Limits(), before);
  Status undone = driver_->Restore(path_, *former);
  EXPECT_TRUE(undone.ok()) << undone.error().message();
  EXPECT_EQ(Limits(), before);
}

TEST_P(CgroupUndoTest, LimitsThatWereSetAreTheSameAgain) {
  LinuxResources former;
  former.cpu_shares = 2000;
  former.cpu_period_us = 20'000;
  former.cpu_quota_us = 10'000;
  former.memory_limit_bytes = 96 << 20;
  SKIP_UNLESS_SUPPORTED(former);
  ASSERT_TRUE(driver_->Create(path_, former, {}, shim_).ok());
  const auto before = Limits();
  for (const int64_t megabytes : {64, 128}) {
    LinuxResources change = Everything();
    change.memory_limit_bytes = change.memory_swap_limit_bytes = megabytes << 20;
    auto former_limits = driver_->LimitsBefore(path_, change);
    ASSERT_TRUE(former_limits.ok()) << former_limits.error().message();
    Status updated = driver_->Update(path_, change);
    ASSERT_TRUE(updated.ok()) << updated.error().message();
    Status undone = driver_->Restore(path_, *former_limits);
    EXPECT_TRUE(undone.ok()) << undone.error().message();
    EXPECT_EQ(Limits(), before);
  }
}

// The last of all that is written is what the kernel refuses.
TEST_P(CgroupUndoTest, AFailureHalfWayLeavesNoLimitThatWasNotThere) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  if (!Has("pids")) GTEST_SKIP() << "no pids controller here";
  const auto before = Limits();
  LinuxResources change = Everything();
  change.unified = {{"pids.max", "many"}};
  Status updated = driver_->Update(path_, change);
  ASSERT_FALSE(updated.ok());
  EXPECT_EQ(updated.code(), Code::kInvalidArgument);
  EXPECT_THAT(updated.error().message(), HasSubstr("pids.max"));
  EXPECT_EQ(Limits(), before);
}

// As a daemon may find it that was killed in the middle of an update, and in that of the undo.
TEST_P(CgroupUndoTest, AnUpdateCutOffAnywhereIsTakenBack) {
  LinuxResources former;
  former.cpu_shares = 2000;
  former.cpu_period_us = 20'000;
  former.cpu_quota_us = 10'000;
  former.memory_limit_bytes = 96 << 20;
  SKIP_UNLESS_SUPPORTED(former);
  ASSERT_TRUE(driver_->Create(path_, former, {}, shim_).ok());
  const auto before = Limits();
  for (const int64_t megabytes : {64, 128}) {
    LinuxResources whole = Everything();
    whole.memory_limit_bytes = whole.memory_swap_limit_bytes = megabytes << 20;
    auto limits = driver_->LimitsBefore(path_, whole);
    ASSERT_TRUE(limits.ok()) << limits.error().message();
    LinuxResources only_cpu, only_memory;
    only_cpu.cpu_shares = whole.cpu_shares;
    only_cpu.cpu_period_us = whole.cpu_period_us;
    only_memory.memory_limit_bytes = whole.memory_limit_bytes;
    for (const LinuxResources& part : {LinuxResources(), only_cpu, only_memory, whole}) {
      Status updated = driver_->Update(path_, part);
      ASSERT_TRUE(updated.ok()) << updated.error().message();
      for (int i = 0; i < 2; ++i) {
        Status undone = driver_->Restore(path_, *limits);
        ASSERT_TRUE(undone.ok()) << undone.error().message();
        EXPECT_EQ(Limits(), before);
      }
    }
  }
}

TEST_P(CgroupUndoTest, TheUndoOfARaisedLimitKillsNobody) {
  LinuxResources r;
  r.memory_limit_bytes = 32 << 20;
  SKIP_UNLESS_SUPPORTED(r);
  ASSERT_TRUE(driver_->Create(path_, r, {}, shim_).ok());
  LinuxResources change;
  change.memory_limit_bytes = 128 << 20;
  change.cpu_shares = 333;
  const auto before = Limits();
  auto former = driver_->LimitsBefore(path_, change);
  ASSERT_TRUE(former.ok()) << former.error().message();
  Status updated = driver_->Update(path_, change);
  ASSERT_TRUE(updated.ok()) << updated.error().message();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = StartIn([&] {
    const size_t size = 64 << 20;
    void* bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    // Locked, it cannot be swapped out.
    if (bytes == MAP_FAILED || mlock(bytes, size) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  Status undone = driver_->Restore(path_, *former);
  ASSERT_FALSE(undone.ok());
  EXPECT_THAT(undone.error().message(), HasSubstr("memory"));
  EXPECT_EQ(kill(pid, 0), 0);
  EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), 0) << "it was killed";
  // What could be put back is.
  const auto after = Limits();
  for (const char* file : {"cpu.shares", "cpu.weight"}) {
    EXPECT_EQ(after.contains(file) ? after.at(file) : "",
              before.contains(file) ? before.at(file) : "");
  }
  close(ready[0]);
  close(ready[1]);
}

TEST_P(CgroupUndoTest, ScoresReachThoseWhoAreForkedMeanwhile) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  // Each process forks the next one and ends: whoever is listed has gone when its turn comes.
  StartIn([] {
    while (true) {
      const pid_t next = fork();
      if (next > 0) _exit(0);
      if (next < 0) _exit(1);
    }
  });
  StartIn([] { pause(); });
  AwaitProcesses(2);
  OomScores former;
  Status set = SetOomScores(*driver_, path_, 123, former);
  ASSERT_TRUE(set.ok()) << set.error().message();
  EXPECT_FALSE(former.empty());
  int seen = 0;
  for (int i = 0; i < 200; ++i) {
    auto pids = driver_->Processes(path_);
    ASSERT_TRUE(pids.ok());
    for (int32_t pid : *pids) {
      const std::string score = ScoreOf(pid);
      if (score == "gone") continue;
      ASSERT_EQ(score, "123");
      ++seen;
    }
  }
  EXPECT_GT(seen, 0);
}

TEST_P(CgroupUndoTest, EveryProcessGetsTheScoreBackThatItHad) {
  ASSERT_TRUE(driver_->Create(path_, {}, {}, shim_).ok());
  // One has what it is given already, and one is new before the undo.
  std::map<pid_t, std::string> wanted;
  for (const char* score : {"10", "20", "300"}) {
    wanted[StartIn([&] {
      if (!WriteFile("/proc/self/oom_score_adj", score).ok()) _exit(1);
      pause();
    })] = score;
  }
  for (const auto& [pid, score] : wanted) {
    for (int i = 0; i < 500 && ScoreOf(pid) != score; ++i) usleep(10'000);
  }
  AwaitProcesses(3);
  OomScores former;
  ASSERT_TRUE(SetOomScores(*driver_, path_, 300, former).ok());
  for (const auto& [pid, score] : wanted) EXPECT_EQ(ScoreOf(pid), "300");
  const pid_t late = StartIn([] {
    if (!WriteFile("/proc/self/oom_score_adj", "300").ok()) _exit(1);
    pause();
  });
  wanted[late] = "15";
  for (int i = 0; i < 500 && ScoreOf(late) != "300"; ++i) usleep(10'000);
  AwaitProcesses(4);
  ASSERT_TRUE(RestoreOomScores(*driver_, path_, former, 15).ok());
  for (const auto& [pid, score] : wanted) EXPECT_EQ(ScoreOf(pid), score);
}

INSTANTIATE_TEST_SUITE_P(Drivers, CgroupUndoTest,
                         ::testing::Values(Driver{"Main", "/sys/fs/cgroup"},
                                           Driver{"HybridUnified", "/sys/fs/cgroup/unified"},
                                           Driver{"Systemd", "/sys/fs/cgroup", true}),
                         [](const auto& driver) { return std::string(driver.param.name); });

}  // namespace
}  // namespace berth::runtime
