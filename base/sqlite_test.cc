#include "base/sqlite.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/testing/temp_dir.h"

namespace berth {
namespace {

TEST(Sqlite, BytesSurviveAndConnectionsShare) {
  testing::TempDir dir;
  auto first = Database::Open(dir / "db");
  ASSERT_TRUE(first.ok()) << first.error().message();
  ASSERT_TRUE(first->Execute("CREATE TABLE t(k TEXT PRIMARY KEY, v BLOB, n INTEGER)").ok());
  auto put = first->Prepare("INSERT INTO t VALUES(?1, ?2, ?3)");
  const std::string bytes("\0\xff x", 4);
  ASSERT_TRUE(put->Bind(1, "key").BindBlob(2, bytes).Bind(3, int64_t{-7}).Execute().ok());
  EXPECT_FALSE(put->Bind(1, "key").BindBlob(2, "").Bind(3, int64_t{0}).Execute().ok());

  auto second = Database::Open(dir / "db");
  auto get = second->Prepare("SELECT k, v, n FROM t");
  ASSERT_TRUE(*get->Step());
  EXPECT_EQ(get->Text(0), "key");
  EXPECT_EQ(get->Blob(1), bytes);
  EXPECT_EQ(get->Int(2), -7);
  EXPECT_FALSE(*get->Step());
  EXPECT_TRUE(second->Checkpoint().ok());
}

TEST(Sqlite, AnErrorNamesWhatIsWrong) {
  EXPECT_FALSE(Database::Open("/nonexistent/db").ok());
  testing::TempDir dir;
  auto db = Database::Open(dir / "db");
  auto statement = db->Prepare("SELECT * FROM absent");
  ASSERT_FALSE(statement.ok());
  EXPECT_NE(statement.error().message().find("absent"), std::string::npos);
}

TEST(JsonText, IsParsedWithBounds) {
  EXPECT_TRUE(ParseJson(R"({"a": [1, 2]})").ok());
  for (const char* bad : {"", "{", "[1,]", "{} {}", "nul", "{\"a\":1"})
    EXPECT_FALSE(ParseJson(bad).ok()) << bad;
  EXPECT_TRUE(ParseJson(std::string(60, '[') + std::string(60, ']')).ok());
  EXPECT_FALSE(ParseJson(std::string(70, '[') + std::string(70, ']')).ok());
  EXPECT_FALSE(ParseJson(std::string(1'000'000, '[')).ok());
}

TEST(JsonText, LookUpsNameTheKey) {
  Json json = *ParseJson(R"({"s": "x", "n": 5, "b": true, "l": ["a", "b"], "null": null})");
  EXPECT_EQ(*JsonString(json, "s"), "x");
  EXPECT_EQ(*JsonString(json, "null", "fallback"), "fallback");
  EXPECT_EQ(*JsonInt(json, "n"), 5);
  EXPECT_EQ(*JsonBool(json, "b"), true);
  EXPECT_EQ(JsonStrings(json, "l")->size(), 2U);
  auto wrong = JsonInt(json, "s");
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message().find("\"s\""), std::string::npos);
  EXPECT_FALSE(JsonString(Json::array(), "s").ok());
}

}  // namespace
}  // namespace berth
