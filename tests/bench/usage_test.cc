#include "tests/bench/usage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"

namespace berth::bench {
namespace {

TEST(UsageTest, PssIsNotOneOfItsParts) {
  Result<int64_t> bytes = ParsePss(
      "5581c0000000-7ffd000000 ---p 00000000 00:00 0    [rollup]\n"
      "Rss:                3200 kB\nPss_Dirty:  9 kB\nPss:                 812 kB\nPss_Anon: 5 "
      "kB\n");
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, 812 * 1024);
  EXPECT_EQ(ParsePss("Rss: 1 kB\n").code(), Code::kInternal);
}

TEST(UsageTest, BusyLeavesOutIdleWaitAndGuest) {
  Result<int64_t> ticks =
      ParseBusyTicks("cpu  1 20 300 99999 88888 4000 50000 600000 7 7\ncpu0 1\n");
  ASSERT_TRUE(ticks.ok());
  EXPECT_EQ(*ticks, 654321);
  EXPECT_FALSE(ParseBusyTicks("intr 1 2 3\n").ok());
}

TEST(UsageTest, FindsOwnMemoryAndProcess) {
  Result<int64_t> bytes = PssBytes(getpid());
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  EXPECT_GT(*bytes, 100 << 10);
  Result<int64_t> cpu = ProcessCpuNs(getpid());
  ASSERT_TRUE(cpu.ok()) << cpu.error().message();
  EXPECT_GT(*cpu, 0);
  Result<std::set<pid_t>> processes = Processes();
  ASSERT_TRUE(processes.ok());
  EXPECT_THAT(*processes, testing::Contains(getpid()));
  Result<std::set<pid_t>> helpers = HelpersSince({});
  ASSERT_TRUE(helpers.ok());
  EXPECT_THAT(*helpers, testing::Contains(getpid()));
}

TEST(UsageTest, NamesTheListener) {
  std::string path = testing::TempDir() + "berth-usage-test-" + std::to_string(getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  Result<pid_t> pid = ListenerPid(path);
  unlink(path.c_str());
  ASSERT_TRUE(pid.ok()) << pid.error().message();
  EXPECT_EQ(*pid, getpid());
  EXPECT_EQ(ListenerPid(path).code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth::bench
