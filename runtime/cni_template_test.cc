#include "runtime/cni_template.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kTemplate[] = R"({"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge",
    "ipam":{"type":"host-local","subnet":"{{.PodCIDR}}","ranges":{{.PodCIDRRanges}},
            "routes":{{.Routes}}}}]})";

TEST(PodCidrs, OneOrMoreRanges) {
  EXPECT_THAT(*ParsePodCidrs("10.244.1.0/24"), ElementsAre("10.244.1.0/24"));
  EXPECT_THAT(*ParsePodCidrs("10.1.0.0/16, fd00::/64"), ElementsAre("10.1.0.0/16", "fd00::/64"));
}

TEST(PodCidrs, OthersAreRefusedByName) {
  for (const char* bad : {"10.244.1.0", "10.244.1.0/33", "10.244.1/24", "fd00::/129", "x/8", "/8",
                          "10.0.0.0/-1", "10.0.0.0/8,", "10.0.0.0/8\",\"x"}) {
    auto cidrs = ParsePodCidrs(bad);
    ASSERT_FALSE(cidrs.ok()) << bad;
    EXPECT_EQ(cidrs.code(), Code::kInvalidArgument) << bad;
    EXPECT_THAT(cidrs.error().message(), HasSubstr("is not a range")) << bad;
  }
  std::string many = "10.0.0.0/8";
  for (int i = 0; i < 16; ++i) many += ",10.0.0.0/8";
  EXPECT_THAT(ParsePodCidrs(many).error().message(), HasSubstr("more than 16"));
}

TEST(CniTemplate, AllPlacesAreFilledIn) {
  auto filled = FillCniTemplate(kTemplate, {"10.1.0.0/16", "fd00::/64"});
  ASSERT_TRUE(filled.ok()) << filled.error().message();
  const Json ipam = (*ParseJson(*filled))["plugins"][0]["ipam"];
  EXPECT_EQ(ipam["subnet"], "10.1.0.0/16");
  EXPECT_EQ(ipam["ranges"], *ParseJson(R"([[{"subnet":"10.1.0.0/16"}],[{"subnet":"fd00::/64"}]])"));
  EXPECT_EQ(ipam["routes"], *ParseJson(R"([{"dst":"0.0.0.0/0"},{"dst":"::/0"}])"));
}

TEST(CniTemplate, TheResultIsWrittenWholeOrNotAtAll) {
  testing::TempDir dir;
  const std::string source = dir / "template";
  const std::string result = StrCat(dir / "net.d", "/", kCniTemplateResult);
  ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, source, kTemplate, 0644).ok());
  ASSERT_TRUE(WriteCniFromTemplate(source, dir / "net.d", {"10.1.0.0/16"}).ok());
  const std::string first = *ReadFile(result);
  EXPECT_THAT(first, HasSubstr("10.1.0.0/16"));

  ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, source, "{\"name\": {{.PodCIDR}}", 0644).ok());
  Status broken = WriteCniFromTemplate(source, dir / "net.d", {"10.2.0.0/16"});
  EXPECT_EQ(broken.code(), Code::kFailedPrecondition);
  EXPECT_THAT(broken.error().message(), HasSubstr(source));
  EXPECT_EQ(*ReadFile(result), first);
  Status missing = WriteCniFromTemplate(dir / "none", dir / "net.d", {"10.2.0.0/16"});
  EXPECT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message(), HasSubstr("none"));
}

}  // namespace
}  // namespace berth::runtime
