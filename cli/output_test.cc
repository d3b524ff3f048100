#include "cli/output.h"

#include <gtest/gtest.h>

#include "cri/proto/api.pb.h"

namespace berth::cli {
namespace {

TEST(Table, AlignsAndShowsControlBytes) {
  Table table({"ID", "NAME"});
  table.Add({"long-id", "a"});
  table.Add({"x", "b\x1b[31m"});
  EXPECT_EQ(table.Text(), "ID        NAME\nlong-id   a\nx         b\\x1b[31m\n");
}

TEST(ToJson, ZeroValuesAreThere) {
  ::runtime::v1::ContainerStatus status;
  status.set_id("c1");
  auto json = ToJson(status);
  ASSERT_TRUE(json.ok());
  EXPECT_NE(json->find("\"exitCode\": 0"), std::string::npos);
  EXPECT_NE(json->find("\"id\": \"c1\""), std::string::npos);
}

TEST(HumanBytes, PowersOf1024) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(uint64_t{5} << 40), "5.0 TiB");
}

TEST(HumanAge, LargestUnit) {
  constexpr int64_t kSecond = 1'000'000'000;
  EXPECT_EQ(HumanAge(0, kSecond), "-");
  EXPECT_EQ(HumanAge(kSecond, 60 * kSecond), "59s ago");
  EXPECT_EQ(HumanAge(kSecond, 7201 * kSecond), "2h ago");
  EXPECT_EQ(HumanAge(2 * kSecond, kSecond), "0s ago");
}

TEST(ShortId, WithoutAlgorithm) {
  EXPECT_EQ(ShortId("sha256:0123456789abcdef"), "0123456789abc");
  EXPECT_EQ(ShortId("ab"), "ab");
}

}  // namespace
}  // namespace berth::cli
