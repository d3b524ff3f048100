#include "base/yaml.h"

#include <gmock/gmock.h>

namespace berth {
namespace {

using ::testing::HasSubstr;

std::string Json1(std::string_view yaml) {
  auto json = ParseYaml(yaml);
  return json.ok() ? ToText(*json) : StrCat("error: ", json.error().message());
}

TEST(Yaml, ReadsWhatJsonCanSay) {
  EXPECT_EQ(Json1("a: 1\nb: [x, 'y', \"z\\n\"]\nc:\n  - d: {e: f}\n  -\n"),
            R"({"a":1,"b":["x","y","z\n"],"c":[{"d":{"e":"f"}},null]})");
  EXPECT_EQ(Json1("a: |\n  two\n  lines\nb: >-\n  one\n  line\n# a remark\n"),
            R"({"a":"two\nlines\n","b":"one line"})");
  EXPECT_EQ(Json1(R"({"json": ["is", "YAML", 1, true, null]})"),
            R"({"json":["is","YAML",1,true,null]})");
  EXPECT_EQ(Json1("---\n- text\n...\n"), R"(["text"])");
}

TEST(Yaml, PlainScalarsHaveTypesAndQuotedOnesAreText) {
  EXPECT_EQ(Json1("[7, -7, +7, 0, 0666, 0o666, 0x1b6, 0b11]"), "[7,-7,7,0,438,438,438,3]");
  EXPECT_EQ(Json1("['7', \"0666\", !!str 7, 0.6, 1e3, 0.6.0, 1_000, 08, -, 0x]"),
            R"(["7","0666","7","0.6","1e3","0.6.0","1_000","08","-","0x"])");
  EXPECT_EQ(Json1("[true, True, FALSE, 'true', yes, on]"),
            R"([true,true,false,"true","yes","on"])");
  EXPECT_EQ(Json1("[~, null, , '']"), R"([null,null,null,""])");
  EXPECT_EQ(Json1("[18446744073709551615, 18446744073709551616, -9223372036854775808]"),
            R"([18446744073709551615,"18446744073709551616",-9223372036854775808])");
  EXPECT_EQ(Json1("{1: a, true: b}"), R"({"1":"a","true":"b"})");
}

TEST(Yaml, AliasesAreCopies) {
  EXPECT_EQ(Json1("a: &x {b: [1]}\nc: *x\nd: [&y text, *y]\n"),
            R"({"a":{"b":[1]},"c":{"b":[1]},"d":["text","text"]})");
}

TEST(Yaml, WhatIsWrongIsNamedWithItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "nothing in it"},
      {"# nothing\n", "nothing in it"},
      {"a: 1\nb: [1\n", "line"},
      {"a: b: c\n", "line 1"},
      {"\tx: 1", "line 1"},
      {"a: 1\n---\nb: 2\n", "more than one document"},
      {"a: 1\nb: 2\na: 3\n", "line 3: \"a\" is there twice"},
      {"? [x]\n: 1\n", "line 1: a key that is no text"},
      {"? {x: 1}\n: 1\n", "line 1: a key that is no text"},
      {"~: 1\n", "a key that is no text"},
      {"a: &x 1\n*x : 2\n", "line 2: a key that is an alias"},
      {"a: &x {b: 1}\nc:\n  <<: *x\n", "line 3: merge keys"},
      {"a: &x [*x]\n", "line 1: an alias for what it is a part of"},
      {"a: *nobody\n", "line 1"},
      {"a: !!binary aGVsbG8=\n", "tag"},
      {"a: !mine {}\n", "tag !mine"},
  };
  for (const auto& [yaml, words] : cases) {
    auto json = ParseYaml(yaml);
    ASSERT_FALSE(json.ok()) << yaml;
    EXPECT_EQ(json.code(), Code::kInvalidArgument) << yaml;
    EXPECT_THAT(json.error().message(), HasSubstr(words)) << yaml;
  }
}

TEST(Yaml, DepthHasAnEnd) {
  auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(ParseYaml(nested(64)).ok());
  EXPECT_THAT(Json1(nested(65)), HasSubstr("nests deeper than 64"));
  // The parser's own end, which comes before its stack's.
  EXPECT_FALSE(ParseYaml(nested(1'000'000)).ok());
  EXPECT_FALSE(ParseYaml(std::string(1'000'000, '[')).ok());
  std::string blocks;
  for (int i = 0; i < 100'000; ++i) blocks += "- ";
  EXPECT_FALSE(ParseYaml(blocks).ok());
}

// Nine lists, each of nine times the one before: 9^9 words.
TEST(Yaml, AliasesThatGrowAreRefused) {
  std::string bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += StrCat("a", i, ": &a", i, " [");
    for (int j = 0; j < 9; ++j) bomb += StrCat(j == 0 ? "" : ", ", "*a", i - 1);
    bomb += "]\n";
  }
  auto json = ParseYaml(bomb);
  EXPECT_EQ(json.code(), Code::kResourceExhausted);
  // A long text, named often.
  std::string long_text = StrCat("a: &a ", std::string(1 << 20, 'x'), "\nb: [");
  for (int i = 0; i < 100; ++i) long_text += "*a, ";
  EXPECT_EQ(ParseYaml(long_text + "]\n").code(), Code::kResourceExhausted);
  // Every empty text takes room, too.
  std::string many = "[";
  for (int i = 0; i < 1'100'000; ++i) many += "'',";
  EXPECT_EQ(ParseYaml(many + "]").code(), Code::kResourceExhausted);
}

TEST(Yaml, GarbageIsAnError) {
  for (std::string_view garbage :
       {std::string_view("\0\0\0", 3), std::string_view("\xff\xfe\x00\xd8", 4),
        std::string_view("%YAML 9.9\n---\na"), std::string_view("%TAG ! x\n%TAG ! y\n---\na"),
        std::string_view("\"\\x"), std::string_view("a: \"\\uD800\""), std::string_view("&"),
        std::string_view("!<"), std::string_view("? ? ? ? :")}) {
    auto json = ParseYaml(garbage);
    EXPECT_LT(json.ok() ? ToText(*json).size() : 0, 100U);
  }
}

}  // namespace
}  // namespace berth
