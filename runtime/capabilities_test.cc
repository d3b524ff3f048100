#include "runtime/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>

#include "base/file.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CapabilitiesTest, NumbersAreTheKernels) {
  EXPECT_EQ(CapabilityNumber("CAP_CHOWN"), CAP_CHOWN);
  EXPECT_EQ(CapabilityNumber("CAP_KILL"), CAP_KILL);
  EXPECT_EQ(CapabilityNumber("CAP_NET_RAW"), CAP_NET_RAW);
  EXPECT_EQ(CapabilityNumber("CAP_SYS_ADMIN"), CAP_SYS_ADMIN);
  EXPECT_EQ(CapabilityNumber("CAP_SETFCAP"), CAP_SETFCAP);
  EXPECT_EQ(CapabilityNumber("CAP_SYSLOG"), CAP_SYSLOG);
  EXPECT_EQ(CapabilityNumber("CAP_CHECKPOINT_RESTORE"), CAP_CHECKPOINT_RESTORE);
}

TEST(CapabilitiesTest, NamesMayLackThePrefixAndBeOfAnyCase) {
  EXPECT_EQ(CapabilityNumber("net_admin"), CAP_NET_ADMIN);
  EXPECT_EQ(CapabilityNumber("cap_net_admin"), CAP_NET_ADMIN);
  EXPECT_EQ(CapabilityNumber("ALL"), std::nullopt);
  EXPECT_EQ(CapabilityNumber(""), std::nullopt);
  EXPECT_EQ(CapabilityNumber("CAP_"), std::nullopt);
}

TEST(CapabilitiesTest, SetsAndNamesConvertBothWays) {
  auto set = CapabilitiesFromNames({"SYS_ADMIN", "CAP_CHOWN"});
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(*set, (1ull << CAP_SYS_ADMIN) | (1ull << CAP_CHOWN));
  EXPECT_THAT(CapabilityNames(*set), ElementsAre("CAP_CHOWN", "CAP_SYS_ADMIN"));
  EXPECT_EQ(CapabilityNames(~CapabilitySet{0}).size(), 41u);
}

TEST(CapabilitiesTest, AnUnknownNameIsNamed) {
  auto set = CapabilitiesFromNames({"CHOWN", "CAP_FLY\n"});
  ASSERT_EQ(set.code(), Code::kInvalidArgument);
  EXPECT_THAT(set.error().message(), HasSubstr("CAP_FLY\\x0a"));
}

TEST(CapabilitiesTest, TheDefaultSetHasFourteenAndNoAdmin) {
  EXPECT_EQ(CapabilityNames(DefaultCapabilities()).size(), 14u);
  EXPECT_EQ(DefaultCapabilities() >> CAP_SYS_ADMIN & 1, 0u);
  EXPECT_EQ(DefaultCapabilities() >> CAP_NET_ADMIN & 1, 0u);
}

TEST(CapabilitiesTest, OwnBoundingSetIsWhatProcSays) {
  auto status = ReadFile("/proc/self/status");
  ASSERT_TRUE(status.ok());
  size_t at = status->find("CapBnd:\t");
  ASSERT_NE(at, std::string::npos);
  auto mask = ParseNumber<uint64_t>(std::string_view(*status).substr(at + 8, 16), 16);
  ASSERT_TRUE(mask.has_value());
  EXPECT_EQ(OwnBoundingSet(), *mask & kAllCapabilities);
}

}  // namespace
}  // namespace berth::runtime
