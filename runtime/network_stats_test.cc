#include "runtime/network_stats.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/netns.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

constexpr char kHead[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n";

TEST(NetworkStatsTest, ReadsEveryInterfaceButTheLoopback) {
  auto all = ParseNetworkStats(StrCat(std::string(kHead),
                                      "    lo:  900 9 0 0 0 0 0 0  900 9 0 0 0 0 0 0\n"
                                      "  eth0: 11 12 13 14 15 16 17 18 21 22 23 24 25 26 27 28\n"
                                      "net1:1:99999999999 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"));
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "eth0");
  EXPECT_EQ(all[0].rx_bytes, 11u);
  EXPECT_EQ(all[0].rx_packets, 12u);
  EXPECT_EQ(all[0].rx_errors, 13u);
  EXPECT_EQ(all[0].rx_dropped, 14u);
  EXPECT_EQ(all[0].tx_bytes, 21u);
  EXPECT_EQ(all[0].tx_packets, 22u);
  EXPECT_EQ(all[0].tx_errors, 23u);
  EXPECT_EQ(all[0].tx_dropped, 24u);
  EXPECT_EQ(all[1].name, "net1:1");
  EXPECT_EQ(all[1].rx_bytes, 99999999999u);
}

TEST(NetworkStatsTest, LinesThatAreCutAreLeftOut) {
  EXPECT_TRUE(ParseNetworkStats("eth0: 1 2 3\n").empty());
  EXPECT_TRUE(ParseNetworkStats("eth0: 1 2 3 4 5 6 7 8 9 x 11 12 13 14 15 16\n").empty());
  EXPECT_TRUE(ParseNetworkStats("").empty());
}

TEST(NetworkStatsTest, TheFileIsOfTheNamespaceWhoeverReadsIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  testing::TempDir dir;
  PodNamespaceOptions options;
  options.ipc = options.uts = false;
  auto made = CreatePodNamespaces(dir / "ns", options);
  ASSERT_TRUE(made.ok()) << made.error().message();
  auto file = OpenNetworkStats(made->net);
  ASSERT_TRUE(file.ok()) << file.error().message();
  auto interfaces = ReadNetworkStats(file->get());
  ASSERT_TRUE(interfaces.ok()) << interfaces.error().message();
  // A new namespace has the loopback, and perhaps tunnels that the kernel's modules make.
  EXPECT_TRUE(std::none_of(interfaces->begin(), interfaces->end(),
                           [](const auto& one) { return one.name == kDefaultInterface; }));
  EXPECT_TRUE(ReadNetworkStats(file->get()).ok());
  EXPECT_TRUE(RemovePodNamespaces(dir / "ns").ok());
}

TEST(NetworkStatsTest, AMissingNamespaceIsNotFound) {
  EXPECT_EQ(OpenNetworkStats("/nowhere/ns").code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth::runtime
