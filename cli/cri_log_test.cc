#include "cli/cri_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/file.h"

namespace berth::cli {
namespace {

constexpr char kTime[] = "2026-01-02T03:04:05.123456789Z";

std::string Line(const std::string& stream, const std::string& tag, const std::string& text) {
  return StrCat(kTime, " ", stream, " ", tag, " ", text, "\n");
}

LogOutput Format(std::string_view bytes, bool timestamps = false) {
  LogFormatter formatter(timestamps);
  LogOutput output;
  formatter.Feed(bytes, output);
  return output;
}

TEST(LogFormatter, SplitsStreamsAndStripsPrefixes) {
  const LogOutput output =
      Format(Line("stdout", "F", "a b  c") + Line("stderr", "F", "oops") + Line("stdout", "F", ""));
  EXPECT_EQ(output.out, "a b  c\n\n");
  EXPECT_EQ(output.err, "oops\n");
}

TEST(LogFormatter, JoinsPartialLinesPerStream) {
  const LogOutput output = Format(Line("stdout", "P", "one ") + Line("stderr", "F", "between") +
                                  Line("stdout", "F", "line"));
  EXPECT_EQ(output.out, "one line\n");
  EXPECT_EQ(output.err, "between\n");
}

TEST(LogFormatter, TimestampsStandOnceALine) {
  const LogOutput output = Format(
      Line("stdout", "P", "one ") + Line("stdout", "F", "line") + Line("stdout", "F", "x"), true);
  EXPECT_EQ(output.out, StrCat(kTime, " one line\n", kTime, " x\n"));
}

TEST(LogFormatter, BytesMayComeOneByOne) {
  LogFormatter formatter(false);
  LogOutput output;
  for (char c : Line("stdout", "F", "slow") + Line("stdout", "P", "no end")) {
    formatter.Feed({&c, 1}, output);
  }
  EXPECT_EQ(output.out, "slow\nno end");
}

TEST(LogFormatter, OtherLinesPassUnchanged) {
  for (const std::string line :
       {"", "plain", "2026 stdout F x", "a b c d", "2026-01-02T03:04:05.1Z stdin F x",
        "2026-01-02T03:04:05.1Z stdout X x", "2026-01-02T03:04:05.1Z stdout"}) {
    EXPECT_EQ(Format(line + "\n").out, line + "\n");
  }
}

class LogReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "berth-log-XXXXXX";
    ASSERT_NE(mkdtemp(dir_.data()), nullptr);
    path_ = dir_ + "/c.log";
  }
  void TearDown() override {
    auto parent = Open(testing::TempDir(), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    ASSERT_TRUE(RemoveTreeAt(parent->get(), dir_.substr(dir_.rfind('/') + 1)).ok());
  }

  void Append(const std::string& text) {
    auto file = Open(path_, O_WRONLY | O_CREAT | O_APPEND, 0600);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteAll(file->get(), text).ok());
  }

  std::string dir_, path_;
};

TEST_F(LogReaderTest, TailCountsWholeLines) {
  Append(Line("stdout", "F", "one") + Line("stdout", "P", "tw") + Line("stdout", "F", "o") +
         Line("stderr", "F", "three"));
  LogReader reader(path_, {.tail = 2});
  auto output = reader.Read();
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->out, "two\n");
  EXPECT_EQ(output->err, "three\n");
  LogReader none(path_, {.tail = 0});
  EXPECT_EQ(none.Read()->out, "");
  Append(Line("stdout", "F", "four"));
  EXPECT_EQ(none.Read()->out, "four\n");
}

TEST_F(LogReaderTest, FollowsAFileThatAppearsGrowsAndIsRotated) {
  LogReader reader(path_, {});
  EXPECT_EQ(reader.Read()->out, "");
  Append(Line("stdout", "F", "one"));
  EXPECT_EQ(reader.Read()->out, "one\n");
  EXPECT_EQ(reader.Read()->out, "");
  Append(Line("stdout", "F", "two"));
  ASSERT_EQ(rename(path_.c_str(), (path_ + ".1").c_str()), 0);
  Append(Line("stdout", "F", "three"));
  EXPECT_EQ(reader.Read()->out, "two\nthree\n");
}

TEST_F(LogReaderTest, LongLinesArriveWhole) {
  const std::string text(300'000, 'x');
  Append(Line("stdout", "F", text));
  LogReader reader(path_, {.tail = 1});
  EXPECT_EQ(reader.Read()->out, text + "\n");
}

}  // namespace
}  // namespace berth::cli
