#include "image/room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include "base/strings.h"
#include "tests/testing/temp_dir.h"

namespace berth::image {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// On a tmpfs of 8 MiB and 100 inodes, one of which is its root's.
class RoomTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=8m,nr_inodes=100"), 0);
    mounted_ = true;
  }
  void TearDown() override {
    EXPECT_TRUE(!mounted_ || umount2(dir_.path().c_str(), MNT_DETACH) == 0);
  }
  Code Try(const std::vector<Room::Need>& needs) { return room_.Reserve(needs, "a").code(); }

  testing::TempDir dir_;
  bool mounted_ = false;
  Room room_{dir_.path()};
};

TEST_F(RoomTest, CountsBytesOfAllReservations) {
  EXPECT_EQ(Try({{"a", 9 * kMiB}}), Code::kResourceExhausted);
  EXPECT_EQ(Try({{"a", 4 * kMiB}, {"b", 5 * kMiB}}), Code::kResourceExhausted);
  {
    auto first = room_.Reserve({{"a", 4 * kMiB}, {"b", 2 * kMiB}}, "two layers");
    ASSERT_TRUE(first.ok()) << first.error().message();
    auto refused = room_.Reserve({{"c", 3 * kMiB}}, "one layer");
    ASSERT_EQ(refused.code(), Code::kResourceExhausted);
    EXPECT_THAT(refused.error().message(),
                HasSubstr(StrCat("no room for one layer: at least 3145728 bytes are needed in ",
                                 dir_.path(), ", 8388608 are free, of which others are going to ",
                                 "take 6291456")));
    // Nothing that is needed is never too much.
    EXPECT_EQ(Try({{"c"}}), Code::kOk);
    // What both need is needed once.
    EXPECT_EQ(Try({{"a", 4 * kMiB}, {"c", 2 * kMiB}}), Code::kOk);
    EXPECT_EQ(Try({{"a", 4 * kMiB}, {"c", 3 * kMiB}}), Code::kResourceExhausted);
    // What is written is no longer to come (and would be missing from what is free).
    (*first)->Written(0, kMiB);
    EXPECT_EQ(Try({{"c", 3 * kMiB}}), Code::kOk);
    (*first)->Written(0, 0);
    EXPECT_EQ(Try({{"c", 3 * kMiB}}), Code::kResourceExhausted);
  }
  EXPECT_EQ(Try({{"c", 8 * kMiB}}), Code::kOk);
}

TEST_F(RoomTest, AClaimStaysWithItsLastHolder) {
  auto first = room_.Reserve({{"a", 6 * kMiB}}, "a");
  auto second = room_.Reserve({{"a", 6 * kMiB}, {"a", 6 * kMiB}}, "a");
  auto there = room_.Reserve({{"a"}}, "a");
  ASSERT_TRUE(first.ok() && second.ok() && there.ok());
  there->reset();
  first->reset();
  EXPECT_EQ(Try({{"c", 3 * kMiB}}), Code::kResourceExhausted);
  second->reset();
  EXPECT_EQ(Try({{"c", 3 * kMiB}}), Code::kOk);
}

TEST_F(RoomTest, CountsInodes) {
  auto first = room_.Reserve({{"a", 1, 60}}, "a");
  ASSERT_TRUE(first.ok());
  auto refused = room_.Reserve({{"b", 1, 40}}, "one layer");
  ASSERT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr("at least 40 inodes are needed in "));
  EXPECT_THAT(refused.error().message(),
              HasSubstr("99 are free, of which others are going to take 60"));
  EXPECT_EQ(Try({{"b", 1, 39}}), Code::kOk);
}

TEST_F(RoomTest, AFullDiskSaysOfWhat) {
  const Error full(Code::kResourceExhausted, "No space left on device");
  EXPECT_EQ(WithRoom(full, "/nonexistent").message(), full.message());
  EXPECT_THAT(WithRoom(full, dir_.path()).message(), HasSubstr("8388608 bytes are free in "));
  ASSERT_EQ(mount(nullptr, dir_.path().c_str(), nullptr, MS_REMOUNT, "size=80m,nr_inodes=10"), 0);
  EXPECT_THAT(WithRoom(full, dir_.path()).message(), HasSubstr("9 inodes are free in "));
  const Error other(Code::kInternal, "other");
  EXPECT_EQ(WithRoom(other, dir_.path()).message(), "other");
}

TEST_F(RoomTest, PercentOfTheDisk) {
  EXPECT_EQ(FreePercent(dir_.path()), 100);
  EXPECT_EQ(FreePercent("/nonexistent"), 100);
}

}  // namespace
}  // namespace berth::image
