#include "snapshotter/seal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>

#include "base/file.h"
#include "snapshotter/seal_tree.h"
#include "tests/testing/temp_dir.h"

namespace berth::snapshotter {
namespace {

Hash128 ContentOf(const std::vector<std::pair<uint64_t, std::string>>& pieces) {
  ContentHash hash;
  for (const auto& [offset, bytes] : pieces) EXPECT_TRUE(hash.Add(offset, bytes));
  return hash.Finish();
}

TEST(Seals, TheTextIsReadBackAndNoOther) {
  const Seal seal{3, 5, {0x0123456789abcdef, 0xfedcba9876543210}};
  EXPECT_EQ(FormatSeal(seal), "3-5-fedcba98765432100123456789abcdef");
  EXPECT_EQ(*ParseSeal(FormatSeal(seal)), seal);
  for (const char* text : {"", "3-5", "3-5-", "a-5-fedcba98765432100123456789abcdef",
                           "3-5-fedcba98765432100123456789abcdeg", "3-5-fedcba98765432100123456789",
                           "3-5-fedcba98765432100123456789abcdef-"}) {
    EXPECT_EQ(ParseSeal(text).code(), Code::kDataLoss) << text;
  }
}

TEST(Seals, HowContentIsCutDoesNotMatter) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += StrCat(i, ",");
  const Hash128 whole = ContentOf({{0, text}});
  for (const size_t cut : {1UL, 4095UL, 4096UL, 4097UL, 9000UL, text.size() - 1}) {
    EXPECT_EQ(ContentOf({{0, text.substr(0, cut)}, {cut, text.substr(cut)}}), whole) << cut;
  }
  for (const size_t at : {0UL, 4096UL, 10'000UL, text.size() - 1}) {
    std::string other = text;
    other[at] ^= 1;
    EXPECT_FALSE(ContentOf({{0, other}}) == whole) << at;
  }
}

TEST(Seals, AHoleIsZeros) {
  const std::string zeros(20'000, '\0');
  const std::string data = zeros + "middle" + zeros + std::string(9000, 'x') + zeros;
  EXPECT_EQ(ContentOf({{20'000, "middle"}, {40'006, std::string(9000, 'x')}}),
            ContentOf({{0, data}}));
  EXPECT_EQ(ContentOf({{0, zeros}}), ContentOf({}));
  // Where it is, is not.
  EXPECT_FALSE(ContentOf({{20'000, "middle"}}) == ContentOf({{24'096, "middle"}}));
  EXPECT_FALSE(ContentOf({{0, "middle"}}) == ContentOf({{4096, "middle"}}));
  ContentHash hash;
  EXPECT_TRUE(hash.Add(uint64_t{1} << 40, "far"));
  EXPECT_FALSE(hash.Add(5, "back"));
}

class SealedTree : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeDirs(dir_ / "tree/sub", 0755).ok());
    Write("tree/sub/file", "content");
    Write("tree/empty", "");
    ASSERT_EQ(symlink("sub/file", (dir_ / "tree/link").c_str()), 0);
    ASSERT_EQ(link((dir_ / "tree/sub/file").c_str(), (dir_ / "tree/second").c_str()), 0);
    before_ = Now();
  }
  void Write(const std::string& path, const std::string& text) const {
    auto fd = Open(dir_ / path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(fd.ok());
    ASSERT_TRUE(WriteAll(fd->get(), text).ok());
  }
  Seal Now() const {
    auto root = Open(dir_ / "tree", O_RDONLY | O_DIRECTORY);
    auto seal = SealTree(Context::Background(), root->get());
    EXPECT_TRUE(seal.ok()) << seal.error().message();
    return seal.ok() ? *seal : Seal{};
  }
  // Keeps the file's and the directory's times, as a power loss and a bad disk do.
  void Behind(const std::string& path, const std::function<void()>& change) const {
    struct stat info {};
    struct stat parent {};
    ASSERT_EQ(lstat((dir_ / path).c_str(), &info), 0);
    ASSERT_EQ(lstat((dir_ / "tree").c_str(), &parent), 0);
    change();
    const timespec times[2] = {info.st_atim, info.st_mtim};
    const timespec parent_times[2] = {parent.st_atim, parent.st_mtim};
    (void)utimensat(AT_FDCWD, (dir_ / path).c_str(), times, AT_SYMLINK_NOFOLLOW);
    ASSERT_EQ(utimensat(AT_FDCWD, (dir_ / "tree").c_str(), parent_times, 0), 0);
  }
  std::string Verified() const {
    auto root = Open(dir_ / "tree", O_RDONLY | O_DIRECTORY);
    const Status status = VerifyTree(Context::Background(), root->get(), false, before_);
    if (status.ok()) return "";
    EXPECT_EQ(status.code(), Code::kDataLoss);
    return status.error().message();
  }

  testing::TempDir dir_;
  Seal before_;
};

TEST_F(SealedTree, IsWholeAsLongAsNothingChanges) {
  EXPECT_EQ(before_.entries, 6u);
  EXPECT_EQ(before_.bytes, 14u);
  EXPECT_EQ(Verified(), "");
}

TEST_F(SealedTree, FindsWhatHasChanged) {
  const std::string file = dir_ / "tree/empty";
  struct Case {
    const char* what;
    std::function<void()> damage, mend;
  };
  const Case cases[] = {
      {"content", [&] { Write("tree/sub/file", "c0ntent"); },
       [&] { Write("tree/sub/file", "content"); }},
      {"mode", [&] { ASSERT_EQ(chmod(file.c_str(), 0600), 0); },
       [&] { ASSERT_EQ(chmod(file.c_str(), 0644), 0); }},
      {"attribute", [&] { ASSERT_EQ(setxattr(file.c_str(), "user.a", "b", 1, 0), 0); },
       [&] { ASSERT_EQ(removexattr(file.c_str(), "user.a"), 0); }},
      {"size", [&] { ASSERT_EQ(truncate(file.c_str(), 3), 0); },
       [&] { ASSERT_EQ(truncate(file.c_str(), 0), 0); }},
      {"name", [&] { ASSERT_EQ(rename(file.c_str(), (dir_ / "tree/other").c_str()), 0); },
       [&] { ASSERT_EQ(rename((dir_ / "tree/other").c_str(), file.c_str()), 0); }},
  };
  for (const Case& test : cases) {
    const std::string path =
        std::string_view(test.what) == "content" ? "tree/sub/file" : "tree/empty";
    Behind(path, test.damage);
    EXPECT_NE(Verified(), "") << test.what;
    Behind(std::string_view(test.what) == "name" ? "tree/other" : path, test.mend);
    EXPECT_EQ(Verified(), "") << test.what;
  }
  const timespec times[2] = {{0, UTIME_OMIT}, {1, 2}};
  ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  EXPECT_NE(Verified(), "");
}

TEST_F(SealedTree, SaysHowMuchIsMissing) {
  ASSERT_EQ(truncate((dir_ / "tree/sub/file").c_str(), 0), 0);
  EXPECT_EQ(Verified(), "its files have 0 bytes instead of 14");
  ASSERT_EQ(unlink((dir_ / "tree/second").c_str()), 0);
  EXPECT_EQ(Verified(), "it has 5 files and directories instead of 6");
}

}  // namespace
}  // namespace berth::snapshotter
