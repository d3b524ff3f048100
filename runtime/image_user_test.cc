#include "runtime/image_user.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPasswd[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# a comment\n"
    "broken line\n"
    "31337:x:0:0:looks like a number:/:/bin/sh\n"
    "99999999999:x:0:0::/:/bin/sh\n"
    "big:x:4294967296:0::/:/bin/sh\n"
    "web:x:1000:1001:Web:/srv/web:/bin/sh\n"
    "nohome:x:1002:1002\n"
    "evil:x:1003:1003::/a\tb:/bin/sh\n";
constexpr char kGroup[] =
    "root:x:0:\n"
    "www:x:1001:\n"
    "audio:x:29:web,other\n"
    "video:x:44:other,web\n"
    "1001:x:0:web2\n"
    "huge:x:4294967297:web\n";

class ImageUserTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = StrCat(::testing::TempDir(), "image_user_XXXXXX");
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    path_ = path;
    root_ = UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(mkdirat(root_.get(), "etc", 0755), 0);
    Write("etc/passwd", kPasswd);
    Write("etc/group", kGroup);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void Write(const std::string& name, std::string_view text) {
    UniqueFd file(
        openat(root_.get(), name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    ASSERT_TRUE(WriteAll(file.get(), text).ok());
  }
  Result<ImageUser> Resolve(const std::string& image_user) {
    return ResolveImageUser(root_.get(), security_, image_user);
  }

  std::string path_;
  UniqueFd root_;
  ContainerSecurityContext security_;
};

TEST_F(ImageUserTest, NobodySaidAnything) {
  auto user = Resolve("");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.uid, 0);
  EXPECT_EQ(user->user.gid, 0);
  EXPECT_EQ(user->home, "/root");
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(0));
}

TEST_F(ImageUserTest, NamesAreLookedUp) {
  auto user = Resolve("web");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.uid, 1000);
  EXPECT_EQ(user->user.gid, 1001);
  EXPECT_EQ(user->home, "/srv/web");
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(29, 44, 1001));

  user = Resolve("web:audio");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.gid, 29);
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(29, 44));
}

TEST_F(ImageUserTest, NumbersAreNeverNames) {
  auto user = Resolve("31337");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.uid, 31337);
  EXPECT_EQ(user->user.gid, 0);
  EXPECT_EQ(user->home, "/");
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(0));

  user = Resolve("5:1001");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.gid, 1001);
}

TEST_F(ImageUserTest, ANumberInTheFileBringsItsGroupsAndHome) {
  auto user = Resolve("1000");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.gid, 1001);
  EXPECT_EQ(user->home, "/srv/web");
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(29, 44, 1001));
}

TEST_F(ImageUserTest, IdsOutOfRangeAreErrors) {
  for (const char* bad : {"4294967296", "2147483648", "2147483648:1", "-1", "+4294967296",
                          "99999999999", "0:2147483648", "0:-1", "99999999999999999999999"}) {
    EXPECT_EQ(Resolve(bad).code(), Code::kInvalidArgument) << bad;
  }
  EXPECT_EQ(Resolve("2147483647").code(), Code::kOk);
}

TEST_F(ImageUserTest, MalformedUserStringsAreErrors) {
  for (const char* bad : {":", "web:", ":www", "a:b:c"}) {
    EXPECT_EQ(Resolve(bad).code(), Code::kInvalidArgument) << bad;
  }
  EXPECT_EQ(Resolve(std::string(100'000, 'a')).code(), Code::kInvalidArgument);
}

TEST_F(ImageUserTest, MissingNamesAreNotFoundAndNamed) {
  auto user = Resolve("nobody");
  ASSERT_EQ(user.code(), Code::kNotFound);
  EXPECT_THAT(user.error().message(), HasSubstr("nobody"));
  EXPECT_EQ(Resolve("web:nogroup").code(), Code::kNotFound);
  // Lines whose ids are out of range do not count.
  EXPECT_EQ(Resolve("big").code(), Code::kNotFound);
  EXPECT_EQ(Resolve("web:huge").code(), Code::kNotFound);
}

TEST_F(ImageUserTest, HomesThatAreNoPathsAreNotTaken) {
  EXPECT_EQ(Resolve("nohome")->home, "/");
  EXPECT_EQ(Resolve("evil")->home, "/");
}

TEST_F(ImageUserTest, CriComesBeforeTheImage) {
  security_.run_as_user = 7;
  auto user = Resolve("web:www");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.uid, 7);
  EXPECT_EQ(user->user.gid, 0);

  security_.run_as_group = 8;
  user = Resolve("web");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.gid, 8);

  security_ = {};
  security_.run_as_username = "web";
  user = Resolve("0");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->user.uid, 1000);
}

TEST_F(ImageUserTest, CriFieldsThatContradictAreErrors) {
  security_.run_as_group = 8;
  auto user = Resolve("web");
  ASSERT_EQ(user.code(), Code::kInvalidArgument);
  EXPECT_THAT(user.error().message(), HasSubstr("run_as_group"));
  security_.run_as_user = 1;
  security_.run_as_username = "web";
  EXPECT_EQ(Resolve("").code(), Code::kInvalidArgument);
  security_ = {};
  security_.run_as_user = int64_t{1} << 31;
  EXPECT_EQ(Resolve("").code(), Code::kInvalidArgument);
  security_ = {};
  security_.run_as_username = "4294967296";
  EXPECT_EQ(Resolve("").code(), Code::kInvalidArgument);
}

TEST_F(ImageUserTest, SupplementalGroupsMergeOrAreStrict) {
  security_.supplemental_groups = {500, 44, 500};
  auto user = Resolve("web");
  ASSERT_TRUE(user.ok());
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(29, 44, 500, 1001));
  security_.supplemental_groups_policy = SupplementalGroupsPolicy::kStrict;
  user = Resolve("web");
  ASSERT_TRUE(user.ok());
  EXPECT_THAT(user->user.supplemental_groups, ElementsAre(44, 500, 1001));
  security_.supplemental_groups = {-1};
  EXPECT_EQ(Resolve("web").code(), Code::kInvalidArgument);
}

TEST_F(ImageUserTest, ImagesWithoutTheFilesRunByNumber) {
  ASSERT_TRUE(RemoveTreeAt(root_.get(), "etc").ok());
  EXPECT_EQ(Resolve("12:13")->user.gid, 13);
  EXPECT_EQ(Resolve("")->user.uid, 0);
  EXPECT_EQ(Resolve("root").code(), Code::kNotFound);
}

TEST_F(ImageUserTest, SymlinksStayInsideTheImage) {
  ASSERT_EQ(unlinkat(root_.get(), "etc/passwd", 0), 0);
  ASSERT_EQ(symlinkat("/../../usr/passwd", root_.get(), "etc/passwd"), 0);
  ASSERT_EQ(mkdirat(root_.get(), "usr", 0755), 0);
  Write("usr/passwd", "inner:x:77:78::/in:/bin/sh\n");
  EXPECT_EQ(Resolve("inner")->user.uid, 77);

  ASSERT_EQ(unlinkat(root_.get(), "etc/passwd", 0), 0);
  ASSERT_EQ(symlinkat("/proc/self/root/etc/passwd", root_.get(), "etc/passwd"), 0);
  EXPECT_EQ(Resolve("root").code(), Code::kNotFound);
}

TEST_F(ImageUserTest, OnlyRegularFilesOfBoundedSizeAreRead) {
  ASSERT_EQ(unlinkat(root_.get(), "etc/passwd", 0), 0);
  ASSERT_EQ(mkfifoat(root_.get(), "etc/passwd", 0644), 0);
  auto user = Resolve("web");
  ASSERT_EQ(user.code(), Code::kInvalidArgument);
  EXPECT_THAT(user.error().message(), HasSubstr("regular file"));

  ASSERT_EQ(unlinkat(root_.get(), "etc/passwd", 0), 0);
  Write("etc/passwd", kPasswd);
  ASSERT_EQ(truncate(StrCat(path_, "/etc/group").c_str(), int64_t{10} << 30), 0);  // sparse
  user = Resolve("web");
  ASSERT_EQ(user.code(), Code::kInvalidArgument);
  EXPECT_THAT(user.error().message(), HasSubstr("larger"));
}

TEST_F(ImageUserTest, MoreGroupsThanTheKernelTakesAreAnError) {
  std::string text;
  for (int i = 1; i <= 70000; ++i) text += StrCat("g", i, ":x:", i, ":web\n");
  Write("etc/group", text);
  EXPECT_EQ(Resolve("web").code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth::runtime
