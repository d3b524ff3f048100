#include "base/strings.h"

#include <gtest/gtest.h>

#include <set>

#include "base/result.h"

namespace berth {
namespace {

TEST(Strings, StrCatJoinsTextAndNumbers) {
  EXPECT_EQ(StrCat("a", 1, 'c', std::string("d"), -5, true, uint64_t{18446744073709551615U}),
            "a1cd-5true18446744073709551615");
}

TEST(Strings, NumbersAreStrict) {
  EXPECT_EQ(ParseNumber<int>("42"), 42);
  EXPECT_EQ(ParseNumber<int>("-1"), -1);
  EXPECT_EQ(ParseNumber<uint64_t>("ff", 16), 255U);
  for (const char* bad : {"", " 1", "1 ", "+1", "1x", "0x1", "99999999999999999999"}) {
    EXPECT_FALSE(ParseNumber<int>(bad).has_value()) << bad;
  }
  EXPECT_FALSE(ParseNumber<unsigned>("-1").has_value());
}

TEST(Strings, SplitKeepsEmptyParts) {
  EXPECT_EQ(Split("a::b", ':'), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(Split("", ':'), (std::vector<std::string_view>{""}));
  EXPECT_EQ(Join({"a", "b"}, ", "), "a, b");
  EXPECT_EQ(Trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(Trim(" \n"), "");
}

TEST(Strings, PrintableIsFitForALog) {
  EXPECT_EQ(Printable("a\nb\x1b[31m\xff"), "a\\x0ab\\x1b[31m\\xff");
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
}

TEST(Strings, IdsAreHexAndDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.insert(NewId());
  EXPECT_EQ(ids.size(), 100U);
  EXPECT_EQ(ids.begin()->size(), 64U);
  EXPECT_EQ(ids.begin()->find_first_not_of("0123456789abcdef"), std::string::npos);
}

Status Inner() {
  return Error(Code::kNotFound, "no such thing", ENOENT);
}
Status Outer() {
  RETURN_IF_ERROR(Inner(), "look for ", 7);
  return Ok();
}

TEST(Result, AWrappedErrorKeepsCodeAndErrno) {
  Status status = Outer();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message(), "look for 7: no such thing");
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.error().sys_errno(), ENOENT);
  EXPECT_EQ(ErrnoError(EACCES, "open x").message(), "open x: Permission denied");
}

}  // namespace
}  // namespace berth
