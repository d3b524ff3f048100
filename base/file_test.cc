#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing/temp_dir.h"

namespace berth {
namespace {

class FileTest : public ::testing::Test {
 protected:
  FileTest() : fd_(std::move(*Open(dir_.path(), O_RDONLY | O_DIRECTORY))) {}
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(AtomicWriteFileAt(fd_.get(), name, text, 0644).ok());
  }

  testing::TempDir dir_;
  UniqueFd fd_;
};

TEST_F(FileTest, AtomicWriteReplacesAllAndLeavesNoTemporary) {
  Put("f", "old");
  Put("f", "new");
  EXPECT_EQ(*ReadFileAt(fd_.get(), "f"), "new");
  int entries = 0;
  ASSERT_TRUE(ForEachEntry(fd_.get(), [&](const std::string&) {
                ++entries;
                return Ok();
              }).ok());
  EXPECT_EQ(entries, 1);
  struct stat info {};
  ASSERT_EQ(fstatat(fd_.get(), "f", &info, 0), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644U);
}

TEST_F(FileTest, ReadingIsBounded) {
  Put("f", std::string(100, 'x'));
  EXPECT_EQ(ReadFileAt(fd_.get(), "f", 99).code(), Code::kResourceExhausted);
  EXPECT_EQ(ReadFileAt(fd_.get(), "f", 100)->size(), 100U);
  EXPECT_EQ(ReadFileAt(fd_.get(), "absent").code(), Code::kNotFound);
}

TEST_F(FileTest, NoLinkLeadsOut) {
  ASSERT_EQ(symlinkat("/etc/passwd", fd_.get(), "absolute"), 0);
  ASSERT_EQ(symlinkat("../../../etc/passwd", fd_.get(), "relative"), 0);
  ASSERT_EQ(symlinkat("/proc/self/root/etc/passwd", fd_.get(), "magic"), 0);
  for (const char* name : {"absolute", "relative", "magic"}) {
    EXPECT_FALSE(OpenBeneath(fd_.get(), name, O_RDONLY).ok()) << name;
    EXPECT_FALSE(OpenInRoot(fd_.get(), name, O_RDONLY).ok()) << name;
    EXPECT_FALSE(OpenNoSymlinks(fd_.get(), name, O_RDONLY).ok()) << name;
  }
}

TEST_F(FileTest, InRootAnAbsoluteLinkStaysInside) {
  ASSERT_TRUE(MakeDirAt(fd_.get(), "etc", 0755).ok());
  auto etc = OpenAt(fd_.get(), "etc", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(AtomicWriteFileAt(etc->get(), "passwd", "ours", 0644).ok());
  ASSERT_EQ(symlinkat("/etc/passwd", fd_.get(), "link"), 0);
  auto file = OpenInRoot(fd_.get(), "link", O_RDONLY);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*ReadToEnd(file->get(), 100), "ours");
}

TEST_F(FileTest, RemoveTreeFollowsNoLinkAndTakesAll) {
  testing::TempDir outside;
  ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, outside / "keep", "x", 0644).ok());
  ASSERT_TRUE(MakeDirs(dir_ / "t/a/b/c", 0755).ok());
  ASSERT_TRUE(MakeDirs(dir_ / "t/d", 0755).ok());
  ASSERT_EQ(symlink(outside.path().c_str(), (dir_ / "t/a/link").c_str()), 0);
  ASSERT_EQ(mkfifo((dir_ / "t/a/fifo").c_str(), 0600), 0);
  EXPECT_TRUE(RemoveTreeAt(fd_.get(), "t").ok());
  EXPECT_FALSE(*Exists(dir_ / "t"));
  EXPECT_TRUE(*Exists(outside / "keep"));
  EXPECT_TRUE(RemoveTreeAt(fd_.get(), "t").ok()) << "a missing tree is fine";
}

// Deeper than any path the kernel takes, and than descriptors there are.
TEST_F(FileTest, RemoveTreeTakesDeepOnes) {
  ASSERT_TRUE(MakeDirAt(fd_.get(), "t", 0755).ok());
  UniqueFd at = std::move(*OpenAt(fd_.get(), "t", O_RDONLY | O_DIRECTORY));
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_TRUE(MakeDirAt(at.get(), "d", 0755).ok());
    at = std::move(*OpenAt(at.get(), "d", O_RDONLY | O_DIRECTORY));
  }
  auto removed = RemoveTreeAt(fd_.get(), "t");
  EXPECT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_FALSE(*Exists(dir_ / "t"));
}

TEST(Paths, PlainRelativeOnes) {
  for (const char* good : {"a", "a/b", "a.b/..c", "..a"})
    EXPECT_TRUE(IsPlainRelativePath(good)) << good;
  for (const char* bad : {"", "/a", "a/", "a//b", ".", "a/../b", "..", "./a"}) {
    EXPECT_FALSE(IsPlainRelativePath(bad)) << bad;
  }
  EXPECT_FALSE(IsPlainRelativePath(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace berth
