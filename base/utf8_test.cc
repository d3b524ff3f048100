#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace berth {
namespace {

TEST(Utf8Test, ToUtf8) {
  const std::string kBad = "\xEF\xBF\xBD";
  EXPECT_EQ(ToUtf8("plain äöü € 😀"), "plain äöü € 😀");
  EXPECT_EQ(ToUtf8("\xff"), kBad);
  EXPECT_EQ(ToUtf8("a\xc3"), "a" + kBad);
  EXPECT_EQ(ToUtf8("\xc0\x80"), kBad + kBad) << "overlong";
  EXPECT_EQ(ToUtf8("\xed\xa0\x80"), kBad + kBad + kBad) << "surrogate";
  EXPECT_EQ(ToUtf8("\xf5\x80\x80\x80"), kBad + kBad + kBad + kBad) << "beyond U+10FFFF";
}

TEST(Utf8Test, IsUtf8) {
  for (const char* text : {"", "plain", "äöü € 😀"}) EXPECT_TRUE(IsUtf8(text)) << text;
  for (const char* text : {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80"})
    EXPECT_FALSE(IsUtf8(text)) << text;
}

}  // namespace
}  // namespace berth
