#include "runtime/lsm.h"

#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

constexpr char kLabel[] = "system_u:object_r:container_file_t:s0:c1,c2";

std::string LabelOf(const std::string& path) {
  char value[256] = {};
  return lgetxattr(path.c_str(), "security.selinux", value, sizeof value - 1) > 0 ? value : "";
}

// The kernel keeps labels of files without SELinux, too: so their place can be looked at anywhere.
class RelabelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to set labels";
    volume_ = dir_.path() + "/volume";
    ASSERT_TRUE(MakeDirs(volume_ + "/a/b", 0755).ok());
    ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, volume_ + "/a/b/file", "", 0644).ok());
    ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, dir_.path() + "/outside", "", 0644).ok());
    ASSERT_EQ(symlink("../outside", (volume_ + "/link").c_str()), 0);
    ASSERT_EQ(symlink("..", (volume_ + "/up").c_str()), 0);
  }

  testing::TempDir dir_;
  std::string volume_;
};

TEST_F(RelabelTest, TheTreeHasTheLabelAndNothingElse) {
  const Status done = Relabel(Context::Background(), volume_, kLabel);
  ASSERT_TRUE(done.ok()) << done.error().message();
  if (LabelOf(volume_).empty()) GTEST_SKIP() << "this file system has no labels";
  for (const char* path : {"", "/a", "/a/b", "/a/b/file"}) {
    EXPECT_EQ(LabelOf(volume_ + path), kLabel) << path;
  }
  EXPECT_NE(LabelOf(dir_.path() + "/outside"), kLabel);
  EXPECT_NE(LabelOf(dir_.path()), kLabel);
}

TEST_F(RelabelTest, ATreeThatHasItIsNotWalkedAgain) {
  ASSERT_TRUE(Relabel(Context::Background(), volume_, kLabel).ok());
  if (LabelOf(volume_).empty()) GTEST_SKIP() << "this file system has no labels";
  ASSERT_EQ(lremovexattr((volume_ + "/a").c_str(), "security.selinux"), 0);
  ASSERT_TRUE(Relabel(Context::Background(), volume_, kLabel).ok());
  EXPECT_EQ(LabelOf(volume_ + "/a"), "");
  ASSERT_TRUE(Relabel(Context::Background(), volume_, "another").ok());
  EXPECT_EQ(LabelOf(volume_ + "/a"), "another");
}

TEST_F(RelabelTest, ItEndsWithItsContext) {
  EXPECT_EQ(Relabel(Context::WithTimeoutMs(0), volume_, kLabel).code(), Code::kDeadlineExceeded);
  EXPECT_NE(LabelOf(volume_), kLabel);
}

TEST_F(RelabelTest, AFileSystemWithoutLabelsIsNotWalked) {
  // Not even one directory is looked at: then the context would be asked.
  const std::string path = "/proc/self/task";
  EXPECT_TRUE(Relabel(Context::WithTimeoutMs(0), path, kLabel).ok());
}

TEST_F(RelabelTest, AFileIsLabelledItself) {
  const std::string file = volume_ + "/a/b/file";
  ASSERT_TRUE(Relabel(Context::Background(), file, kLabel).ok());
  if (LabelOf(file).empty()) GTEST_SKIP() << "this file system has no labels";
  EXPECT_NE(LabelOf(volume_ + "/a/b"), kLabel);
}

TEST_F(RelabelTest, TheNodesOwnDirectoriesKeepTheirs) {
  ASSERT_EQ(symlink("/etc", (volume_ + "/etc").c_str()), 0);
  for (const std::string& path :
       {std::string("/"), std::string("//usr/"), volume_ + "/etc", std::string("/etc/passwd"),
        std::string("/srv"), std::string("/tmp"), std::string("/var/lib"),
        std::string("/var/log/")}) {
    const Status refused = Relabel(Context::Background(), path, kLabel);
    ASSERT_FALSE(refused.ok()) << path;
    EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  }
  EXPECT_NE(LabelOf("/etc"), kLabel);
  EXPECT_EQ(Relabel(Context::Background(), "/no/such/volume", kLabel).code(), Code::kNotFound);
}

bool KnowsAll(const std::string& /*label*/) {
  return true;
}

SelinuxLabels MustLabel(const SelinuxSubject& subject) {
  auto labels = SelinuxLabelsFor(subject, KnowsAll);
  EXPECT_TRUE(labels.ok()) << labels.error().message();
  return labels.ok() ? *labels : SelinuxLabels();
}

TEST(Selinux, WithoutOptionsAContainerIsConfinedAllTheSame) {
  const SelinuxLabels labels = MustLabel({.pod_uid = "a"});
  EXPECT_TRUE(labels.process.starts_with("system_u:system_r:container_t:s0:c")) << labels.process;
  EXPECT_TRUE(labels.mount.starts_with("system_u:object_r:container_file_t:s0:c"));
  EXPECT_EQ(MustLabel({.options = SelinuxOptions(), .pod_uid = "a"}).process, labels.process);
  EXPECT_NE(MustLabel({.pod_uid = "b"}).process, labels.process);
  auto without = SelinuxLabelsFor({.pod_uid = "a"}, /*policy=*/nullptr);
  ASSERT_TRUE(without.ok());
  EXPECT_EQ(without->process + without->mount, "");
}

TEST(Selinux, WhoWorksWithTheHostsProcessesHasNoLabelUnlessItAsks) {
  EXPECT_EQ(MustLabel({.sees_hosts_processes = true, .pod_uid = "a"}).process, "");
  EXPECT_EQ(
      MustLabel({.options = SelinuxOptions{"", "", "x_t", "s0"}, .sees_hosts_processes = true})
          .process,
      "system_u:system_r:x_t:s0");
}

TEST(Selinux, APrivilegedContainerIsFree) {
  EXPECT_EQ(MustLabel({.privileged = true}).process, "system_u:system_r:spc_t:s0");
  // Its files are the pod's, like any other container's.
  EXPECT_EQ(MustLabel({.privileged = true, .pod_uid = "a"}).mount,
            MustLabel({.pod_uid = "a"}).mount);
  EXPECT_EQ(MustLabel({.options = SelinuxOptions{"", "", "", "s0:c4"}, .privileged = true}).mount,
            "system_u:object_r:container_file_t:s0:c4");
  auto without = SelinuxLabelsFor({.privileged = true}, /*policy=*/nullptr);
  ASSERT_TRUE(without.ok());
  EXPECT_EQ(without->process, "");
  auto wrong = SelinuxLabelsFor(
      {.options = SelinuxOptions{"", "", "", "s0,c4,c5"}, .privileged = true}, /*policy=*/nullptr);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.code(), Code::kInvalidArgument);
}

TEST(Selinux, APolicyWithoutContainersTypesLabelsOnlyWhatAsks) {
  const auto knows_none = [](const std::string& /*label*/) { return false; };
  for (bool privileged : {false, true}) {
    auto labels = SelinuxLabelsFor({.privileged = privileged}, knows_none);
    ASSERT_TRUE(labels.ok());
    EXPECT_EQ(labels->process + labels->mount, "");
  }
  auto refused = SelinuxLabelsFor({.options = SelinuxOptions{"", "", "x_t", "s0"}}, knows_none);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.error().message().find("x_t"), std::string::npos);
}

TEST(Selinux, Levels) {
  for (const char* level : {"s0", "s15", "s0:c0", "s0:c1,c1023", "s0:c1.c5,c9", "s0-s0:c0.c1023"}) {
    EXPECT_EQ(MustLabel({.options = SelinuxOptions{"", "", "", level}}).process,
              StrCat("system_u:system_r:container_t:", level));
  }
  for (const char* level :
       {"c1", "s", "s16", "s0:", "s0:c1024", "s0:c1,", "s0:c1.c2.c3", "s0:c1:c2", "s0-s1-s2", "s0-",
        "s0:c-1", "S0", "s0,context=x", "s0:c1 "}) {
    auto labels = SelinuxLabelsFor({.options = SelinuxOptions{"", "", "", level}}, KnowsAll);
    ASSERT_FALSE(labels.ok()) << level;
    EXPECT_EQ(labels.code(), Code::kInvalidArgument);
    EXPECT_NE(labels.error().message().find("selinux_options.level"), std::string::npos);
  }
}

}  // namespace
}  // namespace berth::runtime
