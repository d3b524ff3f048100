#include "cli/session.h"

#include <gtest/gtest.h>

namespace berth::cli {
namespace {

TEST(SessionTest, UrlsOfPlainHttpOnly) {
  auto url = ParseStreamUrl("http://127.0.0.1:4000/exec/abc");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->host, "127.0.0.1");
  EXPECT_EQ(url->port, 4000);
  EXPECT_EQ(url->path, "/exec/abc");
  EXPECT_EQ(ParseStreamUrl("http://[::1]:1/x")->host, "::1");
  for (const char* bad : {"https://h:1/x", "http://h/x", "http://h:1", "http://h:99999/x", ""}) {
    EXPECT_FALSE(ParseStreamUrl(bad).ok()) << bad;
  }
}

TEST(SessionTest, ExitCodesAreInTheStatus) {
  EXPECT_EQ(*ExitCodeOf(R"({"metadata":{},"status":"Success"})"), 0);
  EXPECT_EQ(*ExitCodeOf(R"({"status":"Failure","reason":"NonZeroExitCode",
      "details":{"causes":[{"reason":"ExitCode","message":"137"}]}})"),
            137);
  auto failed = ExitCodeOf(R"({"status":"Failure","reason":"InternalError","message":"no luck",
      "details":{"causes":[{"message":"3"}]}})");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message(), "no luck");
  for (const char* odd :
       {"", "x", "[]", "{}", R"({"status":1})",
        R"({"status":"Failure","reason":"NonZeroExitCode","details":3})",
        R"({"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[1]}})"}) {
    EXPECT_FALSE(ExitCodeOf(odd).ok()) << odd;
  }
}

}  // namespace
}  // namespace berth::cli
