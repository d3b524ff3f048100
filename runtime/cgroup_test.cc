// Needs root and real cgroups. Everything happens below a cgroup or slice of the test's own in each
// hierarchy.
#include "runtime/cgroup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/time.h"
#include "runtime/cgroup_stats.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string Text(const std::string& path) {
  auto text = ReadFile(path);
  return text.ok() ? std::string(Trim(*text)) : text.error().message();
}

void Join(const CgroupJoin& join) {
  for (const std::string& file : join.tasks_files) {
    if (!WriteFile(file, "0").ok()) _exit(97);
  }
  if (!join.directory.empty() && !WriteFile(join.directory + "/cgroup.procs", "0").ok()) _exit(98);
}

// A process that joins and then does `body`; its exit code is body's.
template <typename F>
pid_t Start(const CgroupJoin& join, F body) {
  int ready[2];
  EXPECT_EQ(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    Join(join);
    close(ready[0]);
    close(ready[1]);
    _exit(body());
  }
  close(ready[1]);
  char byte = 0;
  EXPECT_EQ(read(ready[0], &byte, 1), 0);
  close(ready[0]);
  return pid;
}

int Forever() {
  while (true) pause();
}

int Reap(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Driver {
  const char* name;
  const char* mount_root;
  bool systemd = false;
};
void PrintTo(const Driver& driver, std::ostream* out) {
  *out << driver.name;
}

// The suite runs once for each driver that this machine can have.
class CgroupTest : public ::testing::TestWithParam<Driver> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    mount_root_ = GetParam().mount_root;
    if (!std::filesystem::exists(mount_root_))
      GTEST_SKIP() << mount_root_ << " does not exist here";
    auto driver = GetParam().systemd ? NewCgroupDriver("systemd") : NewCgroupfsDriver(mount_root_);
    if (GetParam().systemd && driver.code() == Code::kFailedPrecondition) {
      GTEST_SKIP() << driver.error().message();
    }
    ASSERT_TRUE(driver.ok()) << driver.error().message();
    driver_ = *std::move(driver);
    v2_ = driver_->version() == CgroupVersion::kV2;
    top_ = StrCat("/berthtest", getpid(), GetParam().systemd ? ".slice" : "");
    pod_ = driver_->PodPath(top_, "pod");
    path_ = driver_->ContainerPath(pod_, "c1");
    shim_ = fork();
    if (shim_ == 0) _exit(Forever());
  }
  void TearDown() override {
    if (!driver_) return;
    EndShim();
    EXPECT_TRUE(driver_->Kill(top_).ok());
    Status removed = driver_->Remove(top_);
    EXPECT_TRUE(removed.ok()) << removed.error().message();
  }
  // As whoever starts containers does when the start fails.
  void EndShim() {
    if (shim_ <= 0) return;
    kill(shim_, SIGKILL);
    Reap(shim_);
    shim_ = 0;
  }

  // The directory of a controller's files.
  std::string Dir(const std::string& controller, const std::string& path) const {
    return v2_ ? mount_root_ + path : StrCat(mount_root_, "/", controller, path);
  }
  bool Has(const std::string& controller) const {
    if (!v2_) return std::filesystem::exists(mount_root_ + "/" + controller);
    return (" " + Text(mount_root_ + "/cgroup.controllers") + " ").find(" " + controller + " ") !=
           std::string::npos;
  }
  void Create(const LinuxResources& resources = {}, const std::vector<DeviceRule>& devices = {}) {
    Status status = driver_->Create(path_, resources, devices, shim_);
    ASSERT_TRUE(status.ok()) << status.error().message();
  }

  Result<CgroupMeter> OpenMeter() {
    return CgroupMeter::Open(driver_->version(), [&](std::string_view controller) {
      return driver_->OpenDirectory(path_, controller);
    });
  }

  std::string mount_root_;
  bool v2_ = false;
  std::unique_ptr<CgroupDriver> driver_;
  pid_t shim_ = 0;
  std::string top_, pod_, path_;
};

TEST_P(CgroupTest, AProcessJoinsIsCountedAndKilled) {
  Create();
  Create();  // idempotent
  pid_t pid = Start(driver_->Join(path_), Forever);
  std::string own = Text(StrCat("/proc/", pid, "/cgroup"));
  if (v2_) {
    EXPECT_THAT(own, HasSubstr("0::" + path_));
  } else {
    for (const char* controller : {"cpu", "memory", "pids", "cpuset", "freezer", "devices"}) {
      if (Has(controller)) {
        EXPECT_THAT(own, HasSubstr(StrCat(controller, ":", path_)));
      }
    }
  }
  auto meter = OpenMeter();
  ASSERT_TRUE(meter.ok()) << meter.error().message();
  auto sample = meter->Read();
  ASSERT_TRUE(sample.ok()) << sample.error().message();
  EXPECT_EQ(sample->tasks.has_value(), Has("pids"));
  EXPECT_EQ(sample->tasks.value_or(1), 1u);
  EXPECT_EQ(driver_->Remove(path_).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(driver_->Kill(path_).ok());
  EXPECT_EQ(Reap(pid), 128 + SIGKILL);
  EXPECT_TRUE(driver_->Remove(path_).ok());
  EXPECT_TRUE(driver_->Remove(path_).ok());
  EXPECT_TRUE(driver_->Kill(path_).ok());
  EXPECT_EQ(meter->Read().code(), Code::kNotFound);
  EXPECT_EQ(OpenMeter().code(), Code::kNotFound);
  EXPECT_EQ(driver_->Update(path_, {}).code(), Code::kNotFound);
}

TEST_P(CgroupTest, KillReachesCgroupsBelowAndProcessesThatMultiply) {
  Create();
  CgroupJoin join = driver_->Join(path_);
  std::string exec = join.exec_parent + "/exec-1";
  ASSERT_EQ(mkdir(exec.c_str(), 0755), 0) << exec;
  int alive[2];
  ASSERT_EQ(pipe(alive), 0);
  pid_t pid = Start(join, [&] {
    if (!WriteFile(exec + "/cgroup.procs", "0").ok()) return 99;
    for (int i = 0; i < 4; ++i) {
      if (fork() == 0) break;
    }
    // Each goes on forking children that fork and end, faster than anybody can list them.
    while (true) {
      pid_t child = fork();
      if (child > 0) _exit(0);
    }
  });
  close(alive[1]);
  usleep(20'000);
  Status killed = driver_->Kill(path_);
  EXPECT_TRUE(killed.ok()) << killed.error().message();
  // Every descendant held the pipe: its end says that all are gone.
  pollfd end{alive[0], POLLIN, 0};
  EXPECT_EQ(poll(&end, 1, 5000), 1);
  close(alive[0]);
  Reap(pid);
  EXPECT_TRUE(driver_->Remove(path_).ok());
}

TEST_P(CgroupTest, KillsWhatIsFrozen) {
  Create();
  pid_t pid = Start(driver_->Join(path_), Forever);
  std::string file =
      v2_ ? Dir("", path_) + "/cgroup.freeze" : Dir("freezer", path_) + "/freezer.state";
  if (!WriteFile(file, v2_ ? "1" : "FROZEN").ok()) GTEST_SKIP() << "no freezer here";
  EXPECT_TRUE(driver_->Kill(path_).ok());
  EXPECT_EQ(Reap(pid), 128 + SIGKILL);
}

TEST_P(CgroupTest, ListsAllBelow) {
  Create();
  EXPECT_EQ(mkdir((driver_->Join(path_).exec_parent + "/e").c_str(), 0755), 0);
  auto list = driver_->List(top_);
  ASSERT_TRUE(list.ok());
  if (driver_->is_systemd()) {
    EXPECT_THAT(*list, UnorderedElementsAre(pod_, path_));
  } else {
    EXPECT_THAT(*list, UnorderedElementsAre(pod_, path_, path_ + "/e"));
  }
  EXPECT_TRUE(driver_->List(top_ + "/nothing")->empty());
}

TEST_P(CgroupTest, LimitsAreSetAndUpdatedAllOrNothing) {
  if (!Has("memory") || !Has("cpu")) GTEST_SKIP() << "no memory and cpu controllers here";
  LinuxResources r;
  r.cpu_shares = 512;
  r.cpu_quota_us = 50'000;
  r.cpu_period_us = 100'000;
  r.memory_limit_bytes = 64 << 20;
  r.hugepage_limits = {{"2MB", 0}};
  if (Has("pids")) r.unified = {{"pids.max", "77"}};
  Create(r);
  const std::string memory_file =
      Dir("memory", path_) + (v2_ ? "/memory.max" : "/memory.limit_in_bytes");
  const std::string cpu_file = Dir("cpu", path_) + (v2_ ? "/cpu.weight" : "/cpu.shares");
  EXPECT_EQ(Text(memory_file), StrCat(64 << 20));
  EXPECT_EQ(Text(cpu_file), v2_ ? "59" : "512");
  if (Has("pids")) {
    EXPECT_EQ(Text(Dir("pids", path_) + "/pids.max"), "77");
  }
  EXPECT_EQ(OpenMeter()->Read()->memory->limit_bytes, uint64_t{64} << 20);

  for (int64_t limit : {int64_t{128} << 20, int64_t{32} << 20}) {
    LinuxResources update;
    update.memory_limit_bytes = limit;
    auto status = driver_->Update(path_, update);
    ASSERT_TRUE(status.ok()) << status.error().message();
    EXPECT_EQ(Text(memory_file), StrCat(limit));
  }
  // The value that the kernel refuses comes last: what went before it is taken back.
  LinuxResources bad;
  bad.cpu_shares = 100;
  bad.memory_limit_bytes = 100 << 20;
  bad.unified = {{"pids.max", "nonsense"}};
  auto status = driver_->Update(path_, bad);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.error().message(), HasSubstr("pids.max"));
  EXPECT_EQ(Text(cpu_file), v2_ ? "59" : "512");
  EXPECT_EQ(Text(memory_file), StrCat(32 << 20));
}

TEST_P(CgroupTest, OomKillsAreCounted) {
  if (!Has("memory")) GTEST_SKIP() << "no memory controller here";
  LinuxResources r;
  r.memory_limit_bytes = 16 << 20;
  Create(r);
  CgroupJoin join = driver_->Join(path_);
  EXPECT_THAT(Text(join.oom_file), HasSubstr("oom_kill 0"));
  pid_t pid = Start(join, [] {
    size_t size = 64 << 20;
    auto* bytes = static_cast<volatile char*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < size; i += 4096) bytes[i] = 1;
    return 0;
  });
  EXPECT_EQ(Reap(pid), 128 + SIGKILL);
  EXPECT_THAT(Text(join.oom_file), HasSubstr("oom_kill 1"));
}

TEST_P(CgroupTest, ALimitBelowWhatIsInUseIsRefused) {
  if (!Has("memory")) GTEST_SKIP() << "no memory controller here";
  LinuxResources r;
  r.memory_limit_bytes = 64 << 20;
  Create(r);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t pid = Start(driver_->Join(path_), [&] {
    // The kernel writes the pages: a sanitizer's shadow of them would go beyond the limit.
    const void* bytes = mmap(nullptr, 32 << 20, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return bytes != MAP_FAILED && write(ready[1], "r", 1) == 1 ? Forever() : 1;
  });
  close(ready[1]);
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  r.memory_limit_bytes = 16 << 20;
  auto status = driver_->Update(path_, r);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition) << status.error().message();
  EXPECT_THAT(status.error().message(), HasSubstr("memory"));
  EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), 0) << "it has been killed";
  EXPECT_EQ(OpenMeter()->Read()->memory->limit_bytes, uint64_t{64} << 20);
  EXPECT_TRUE(driver_->Kill(path_).ok());
  Reap(pid);
  close(ready[0]);
}

TEST_P(CgroupTest, AControllerThatItsParentKeepsBackIsNamed) {
  if (!v2_ || !Has("memory") || driver_->is_systemd()) {
    GTEST_SKIP() << "only cgroup v2 has parents that can";
  }
  // A cgroup with processes of its own cannot hand controllers on.
  const std::string parent = mount_root_ + pod_;
  ASSERT_TRUE(std::filesystem::create_directories(parent));
  pid_t pid = Start(CgroupJoin{parent, {}, "", parent}, Forever);
  LinuxResources r;
  r.memory_limit_bytes = 16 << 20;
  Status status = driver_->Create(path_, r, {}, shim_);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.error().message(), HasSubstr("memory controller cannot be enabled"));
  EXPECT_FALSE(std::filesystem::exists(mount_root_ + path_));
  kill(pid, SIGKILL);
  Reap(pid);
}

TEST_P(CgroupTest, AReadOnlyHierarchyIsToldAndNothingIsMade) {
  if (driver_->is_systemd()) GTEST_SKIP() << "systemd has its own view of the mount";
  const pid_t pid = fork();
  if (pid == 0) {
    const bool private_view = unshare(CLONE_NEWNS) == 0 &&
                              mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    mount_attr read_only{};
    read_only.attr_set = MOUNT_ATTR_RDONLY;
    if (!private_view || syscall(SYS_mount_setattr, AT_FDCWD, mount_root_.c_str(), AT_RECURSIVE,
                                 &read_only, sizeof read_only) != 0) {
      _exit(2);
    }
    auto driver = NewCgroupfsDriver(mount_root_);
    if (!driver.ok()) _exit(3);
    Status status = (*driver)->Create(path_, {}, {}, shim_);
    _exit(!status.ok() && status.error().sys_errno() == EROFS &&
                  status.error().message().find(top_) != std::string::npos
              ? 0
              : 4);
  }
  EXPECT_EQ(Reap(pid), 0);
  EXPECT_TRUE(driver_->List(top_)->empty());
}

TEST_P(CgroupTest, CpusetsAreInheritedAndSet) {
  if (!Has("cpuset")) GTEST_SKIP() << "no cpuset controller here";
  Create();
  if (!v2_) {
    EXPECT_EQ(Text(Dir("cpuset", path_) + "/cpuset.cpus"),
              Text(Dir("cpuset", "") + "/cpuset.cpus"));
  }
  LinuxResources r;
  r.cpuset_cpus = "0";
  auto status = driver_->Update(path_, r);
  ASSERT_TRUE(status.ok()) << status.error().message();
  pid_t pid = Start(driver_->Join(path_), [] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set) ? 0 : 1;
  });
  EXPECT_EQ(Reap(pid), 0);
}

TEST_P(CgroupTest, AFailedUpdateTakesTheCpusetBack) {
  if (!Has("cpuset")) GTEST_SKIP() << "no cpuset controller here";
  Create();
  const std::string file = Dir("cpuset", path_) + "/cpuset.cpus";
  const std::string before = Text(file);
  LinuxResources r;
  r.cpuset_cpus = "0";
  r.cpuset_mems = "1000";  // no machine has that many
  EXPECT_FALSE(driver_->Update(path_, r).ok());
  EXPECT_EQ(Text(file), before);
}

TEST_P(CgroupTest, AFailedCreateLeavesNothing) {
  LinuxResources r;
  r.hugepage_limits = {{"3MB", 4096}};  // no machine has this page size
  Status status = driver_->Create(path_, r, {}, shim_);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.error().message(), HasSubstr("hugetlb"));
  EXPECT_FALSE(std::filesystem::exists(Dir("memory", path_)));
  if (driver_->is_systemd()) {
    EndShim();
    const std::string scope = path_.substr(0, path_.rfind('/'));
    for (int i = 0; i < 100 && std::filesystem::exists(Dir("", scope)); ++i) usleep(20'000);
    EXPECT_FALSE(std::filesystem::exists(Dir("", scope)));
  } else {
    EXPECT_TRUE(driver_->List(top_)->empty());
  }
  EXPECT_EQ(driver_->Create("/a/../b", {}, {}, 0).code(), Code::kInvalidArgument);
}

TEST_P(CgroupTest, OnlyAllowedDevicesCanBeUsed) {
  auto allowed = [](int64_t minor, std::string access) {
    return DeviceRule{true, 'c', 1, minor, std::move(access)};
  };
  DeviceRule none{false, 'a', -1, -1, "rwm"};
  Create({}, {none, allowed(3, "rwm"), allowed(5, "r"), {true, 'c', -1, -1, "m"}});
  char dir[] = "/tmp/berth-devices-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  auto node = [&](const char* name) { return StrCat(dir, "/", name); };
  auto opens = [](const std::string& path, int flags) {
    int fd = open(path.c_str(), flags);
    if (fd >= 0) close(fd);
    return fd >= 0;
  };
  auto probe = [&](int null_minor) {
    // mknod asks for 'm'.
    if (mknod(node("null").c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0) return 1;
    if (mknod(node("zero").c_str(), S_IFCHR | 0600, makedev(1, 5)) != 0) return 2;
    if (mknod(node("random").c_str(), S_IFCHR | 0600, makedev(1, 8)) != 0) return 3;
    if (mknod(node("loop").c_str(), S_IFBLK | 0600, makedev(7, 0)) == 0) return 4;
    if (opens(node("null"), O_RDWR) != (null_minor == 3)) return 5;
    if (!opens(node("zero"), O_RDONLY)) return 6;
    if (opens(node("zero"), O_RDWR)) return 7;
    if (opens(node("random"), O_RDONLY) != (null_minor == 8)) return 8;
    return 0;
  };
  auto run = [&](int null_minor) {
    int code = Reap(Start(driver_->Join(path_), [&] { return probe(null_minor); }));
    for (const char* name : {"null", "zero", "random", "loop"}) unlink(node(name).c_str());
    return code;
  };
  EXPECT_EQ(run(3), 0);
  // A second Create replaces the rules.
  Create({}, {none, allowed(8, "r"), allowed(5, "r"), {true, 'c', -1, -1, "m"}});
  EXPECT_EQ(run(8), 0);
  Create({}, {none, allowed(3, "rwm"), allowed(5, "r"), {true, 'c', -1, -1, "m"}});
  EXPECT_EQ(run(3), 0);
  // All but one.
  Create({}, {{true, 'a', -1, -1, "rwm"}, {false, 'c', 1, 3, "w"}});
  EXPECT_EQ(Reap(Start(driver_->Join(path_),
                       [&] {
                         return opens("/dev/null", O_RDWR) || !opens("/dev/null", O_RDONLY) ||
                                !opens("/dev/zero", O_RDWR);
                       })),
            0);
  std::filesystem::remove_all(dir);
}

TEST_P(CgroupTest, CloneIntoCgroup) {
  if (!v2_) GTEST_SKIP() << "cgroup v1";
  Create();
  int dir = open(driver_->Join(path_).directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(dir, 0);
  clone_args args{};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(dir);
  auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) _exit(Text("/proc/self/cgroup").find("0::" + path_) == std::string::npos);
  close(dir);
  EXPECT_EQ(Reap(pid), 0);
}

INSTANTIATE_TEST_SUITE_P(Drivers, CgroupTest,
                         ::testing::Values(Driver{"Main", "/sys/fs/cgroup"},
                                           Driver{"HybridUnified", "/sys/fs/cgroup/unified"},
                                           Driver{"Systemd", "/sys/fs/cgroup", true}),
                         [](const auto& driver) { return std::string(driver.param.name); });

// A directory of plain files that poses as cgroup v2 with every controller.
class CgroupFixtureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    std::filesystem::create_directories(root_ + "/a/c");
    for (const char* dir : {"", "/a", "/a/c"}) {
      Put(StrCat(dir, "/cgroup.controllers"), "cpuset cpu io memory hugetlb pids");
      Put(StrCat(dir, "/cgroup.subtree_control"), "cpuset cpu io memory hugetlb pids");
    }
    for (const char* file : {"cpu.weight", "cpu.max", "cpuset.cpus", "cpuset.mems", "memory.max",
                             "memory.swap.max", "hugetlb.2MB.max", "memory.high", "pids.max"}) {
      Put(StrCat("/a/c/", file), "");
    }
    auto driver = NewCgroupfsDriver(root_);
    ASSERT_TRUE(driver.ok()) << driver.error().message();
    driver_ = *std::move(driver);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Put(const std::string& file, const std::string& text) {
    std::ofstream(root_ + file, std::ios::trunc) << text;
  }
  std::string Get(const std::string& file) { return Text(root_ + "/a/c/" + file); }

  std::string root_ = "/tmp/berth-cgroup2-XXXXXX";
  std::unique_ptr<CgroupDriver> driver_;
};

TEST_F(CgroupFixtureTest, WritesEveryLimitOnceAndIoLast) {
  Put("/a/c/io.max", "");
  int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  inotify_add_watch(watch, (root_ + "/a/c").c_str(), IN_MODIFY);
  LinuxResources r;
  r.cpu_shares = 2048;
  r.cpu_quota_us = 25'000;
  r.memory_limit_bytes = 1000;
  r.memory_swap_limit_bytes = 3000;
  r.cpuset_cpus = "0-1";
  r.hugepage_limits = {{"2MB", 4096}, {"1GB", 0}};
  r.unified = {{"io.max", "8:0 rbps=1"}, {"pids.max", "5"}};
  Status status = driver_->Create("/a/c", r, {}, 0);
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_EQ(Get("cpu.weight"), "174");
  EXPECT_EQ(Get("cpu.max"), "25000 100000");
  EXPECT_EQ(Get("memory.swap.max"), "2000");
  EXPECT_EQ(Get("io.max"), "8:0 rbps=1");
  alignas(inotify_event) char buffer[4096];
  ssize_t n = read(watch, buffer, sizeof buffer);
  close(watch);
  std::vector<std::string> order;
  for (ssize_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    order.emplace_back(event->name);
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  EXPECT_THAT(order, ElementsAre("cpu.weight", "cpu.max", "cpuset.cpus", "memory.max",
                                 "memory.swap.max", "hugetlb.2MB.max", "pids.max", "io.max"));
}

TEST_F(CgroupFixtureTest, UpdateTakesBackWhatItWroteBeforeAFailure) {
  Put("/a/c/cpu.weight", "100");
  Put("/a/c/memory.max", "1000");
  std::filesystem::remove(root_ + "/a/c/hugetlb.2MB.max");
  LinuxResources r;
  r.cpu_shares = 2048;
  r.memory_limit_bytes = 2000;
  r.hugepage_limits = {{"2MB", 4096}};
  auto status = driver_->Update("/a/c", r);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.error().message(), HasSubstr("hugetlb.2MB.max"));
  EXPECT_EQ(Get("cpu.weight"), "100");
  EXPECT_EQ(Get("memory.max"), "1000");
}

}  // namespace
}  // namespace berth::runtime
