// Needs root: makes real namespaces below a directory of its own in /tmp.
#include "runtime/netns.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file.h"

namespace berth::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const std::string& path) {
  auto text = ReadFile(path);
  return text.ok() ? std::string(Trim(*text)) : text.error().message();
}

// What `body` gives in a thread that has entered the namespace.
template <typename F>
std::string Inside(const std::string& ns, F body) {
  std::string result;
  std::thread([&] {
    UniqueFd fd(open(ns.c_str(), O_RDONLY | O_CLOEXEC));
    result = setns(fd.get(), 0) == 0 ? body() : "setns failed";
  }).join();
  return result;
}

TEST(CheckSysctls, RefusesWhatIsNotThePodsOwn) {
  auto code = [](const std::string& name, const std::string& value, bool own = true) {
    PodNamespaceOptions options;
    options.net = options.ipc = own;
    options.sysctls = {{name, value}};
    return CheckSysctls(options).code();
  };
  EXPECT_EQ(code("net.ipv4.ip_forward", "1"), Code::kOk);
  EXPECT_EQ(code("net/ipv4/conf/eth0.100/forwarding", "1"), Code::kOk);
  EXPECT_EQ(code("net.ipv4.ping_group_range", "0 10"), Code::kOk);
  EXPECT_EQ(code("kernel.shm_rmid_forced", "1"), Code::kOk);
  EXPECT_EQ(code("fs.mqueue.msg_max", "10"), Code::kOk);
  EXPECT_EQ(code("net.ipv4.ip_forward", "1", false), Code::kInvalidArgument);
  EXPECT_EQ(code("kernel.sem", "1 2 3 4", false), Code::kInvalidArgument);
  for (const char* name :
       {"kernel.core_pattern", "kernel.hostname", "kernel.domainname", "vm.swappiness",
        "net/../kernel/core_pattern", "/net/ipv4/ip_forward", "net", "net.", "", "fs.mqueue",
        "net.ipv4.ip forward", "kernel.shmmax.x", "kernel.semx"}) {
    EXPECT_EQ(code(name, "1"), Code::kInvalidArgument) << name;
  }
  for (const char* value :
       {"", "1\nkernel.core_pattern=|/x", "1+kernel.core_pattern=|/x", "a=b", "\x01"}) {
    EXPECT_EQ(code("net.ipv4.ip_forward", value), Code::kInvalidArgument) << value;
  }
}

class NetnsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    dir_ = root_ + "/ns";
    made_ = true;
  }
  void TearDown() override {
    if (!made_) return;
    EXPECT_TRUE(RemovePodNamespaces(dir_).ok());
    EXPECT_TRUE(RemovePrivateMount(root_).ok());
    EXPECT_THAT(Text("/proc/self/mountinfo"), Not(HasSubstr(root_)));
    EXPECT_EQ(rmdir(root_.c_str()), 0);
  }

  std::string root_ = "/tmp/berth-netns-XXXXXX";
  std::string dir_;
  bool made_ = false;
};

TEST_F(NetnsTest, MakesNamespacesWithHostnameLoopbackAndSysctls) {
  std::string host = Text("/proc/sys/kernel/hostname");
  std::string host_shm = Text("/proc/sys/kernel/shmmni");
  std::string host_port = Text("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  PodNamespaceOptions options;
  options.hostname = "web-0.example";
  options.sysctls = {{"kernel.shmmni", "1234"}, {"net.ipv4.ping_group_range", "5 6"}};
  auto made = CreatePodNamespaces(dir_, options);
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(Inside(made->uts, [] { return Text("/proc/sys/kernel/hostname"); }), "web-0.example");
  EXPECT_EQ(Inside(made->ipc, [] { return Text("/proc/sys/kernel/shmmni"); }), "1234");
  EXPECT_EQ(Inside(made->net, [] { return Text("/proc/sys/net/ipv4/ping_group_range"); }), "5\t6");
  EXPECT_EQ(Inside(made->net, [] { return Text("/proc/sys/net/ipv4/ip_unprivileged_port_start"); }),
            "0");
  EXPECT_THAT(Inside(made->net, [] { return Text("/proc/thread-self/net/if_inet6"); }),
              HasSubstr("lo"));
  EXPECT_EQ(Text("/proc/sys/kernel/hostname"), host);
  EXPECT_EQ(Text("/proc/sys/kernel/shmmni"), host_shm);
  EXPECT_EQ(Text("/proc/sys/net/ipv4/ip_unprivileged_port_start"), host_port);

  EXPECT_TRUE(RemovePodNamespaces(dir_).ok());
  EXPECT_FALSE(std::filesystem::exists(dir_));
  EXPECT_TRUE(RemovePodNamespaces(dir_).ok());
}

TEST_F(NetnsTest, MakesOnlyWhatThePodHasOfItsOwn) {
  PodNamespaceOptions options;
  options.net = false;
  options.uts = false;
  options.hostname = "ignored";
  auto made = CreatePodNamespaces(dir_, options);
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(made->net, "");
  EXPECT_EQ(made->uts, "");
  EXPECT_EQ(made->ipc, dir_ + "/ipc");
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/net"));
}

TEST_F(NetnsTest, LeavesNothingWhenASysctlIsRefused) {
  PodNamespaceOptions options;
  options.sysctls = {{"net.ipv4.no_such_thing", "1"}};
  auto made = CreatePodNamespaces(dir_, options);
  EXPECT_EQ(made.code(), Code::kInvalidArgument);
  EXPECT_THAT(made.error().message(), HasSubstr("net/ipv4/no_such_thing"));
  EXPECT_FALSE(std::filesystem::exists(dir_));
  options.sysctls = {{"net.ipv4.ip_forward", "notanumber"}};
  EXPECT_EQ(CreatePodNamespaces(dir_, options).code(), Code::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(dir_));
  options.sysctls = {};
  options.hostname = std::string(65, 'a');
  EXPECT_EQ(CreatePodNamespaces(dir_, options).code(), Code::kInvalidArgument);
}

TEST_F(NetnsTest, ReplacesWhatADeadDaemonLeft) {
  auto first = CreatePodNamespaces(dir_, {});
  ASSERT_TRUE(first.ok());
  struct stat before {};
  stat(first->net.c_str(), &before);
  auto second = CreatePodNamespaces(dir_, {});
  ASSERT_TRUE(second.ok()) << second.error().message();
  struct statfs fs {};
  ASSERT_EQ(statfs(second->net.c_str(), &fs), 0);
  EXPECT_EQ(fs.f_type, 0x6e736673);  // NSFS_MAGIC
}

TEST_F(NetnsTest, PrivateMountIsMadeOnceAndRemoved) {
  EXPECT_TRUE(EnsurePrivateMount(root_).ok());
  EXPECT_TRUE(EnsurePrivateMount(root_).ok());
  std::vector<std::string> lines;
  std::string mounts = Text("/proc/self/mountinfo");
  for (std::string_view line : Split(mounts, '\n')) {
    if (line.find(root_) != std::string_view::npos) lines.emplace_back(line);
  }
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], Not(HasSubstr("shared:")));
  EXPECT_TRUE(CreatePodNamespaces(dir_, {}).ok());
}

}  // namespace
}  // namespace berth::runtime
