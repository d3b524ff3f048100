#include "runtime/cgroup_settings.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "base/file.h"
#include "runtime/cgroup_tree.h"

namespace berth::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Plain files pose as those of a cgroup: what is asked of the kernel is seen, not what it does.
class CgroupSettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(path_.data()), nullptr);
    dir_ = *Open(path_, O_PATH | O_DIRECTORY);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  void Put(const std::string& file, const std::string& text) {
    std::ofstream(path_ + "/" + file, std::ios::trunc) << text;
  }
  std::string Get(const std::string& file) {
    return ReadCgroupFile(dir_.get(), file).value_or("none");
  }
  CgroupDirectoryOf Here() {
    return [this](std::string_view) { return dir_.get(); };
  }
  // What would take back that value.
  std::optional<std::string> Former(const std::string& controller, const std::string& file,
                                    const std::string& value) {
    auto former = ReplaceSettings({{controller, file, value}}, Here());
    EXPECT_TRUE(former.ok()) << former.error().message();
    if (!former.ok() || former->size() != 1) return "none";
    return former->front().value;
  }

  std::string path_ = "/tmp/berth-settings-XXXXXX";
  UniqueFd dir_;
};

TEST_F(CgroupSettingsTest, AFileOfOneValueIsPutBackWhole) {
  Put("cpu.max", "max 100000\n");
  EXPECT_EQ(Former("cpu", "cpu.max", "5000 100000"), "max 100000\n");
  Put("cpuset.cpus", "\n");
  EXPECT_EQ(Former("cpuset", "cpuset.cpus", "0"), "\n");
}

TEST_F(CgroupSettingsTest, OfAFileWithALineForEachDeviceTheOneThatWasWritten) {
  const std::string lines =
      "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2 wbps=max riops=max wiops=max\n";
  Put("io.max", lines);
  EXPECT_EQ(Former("io", "io.max", "8:16 rbps=9"), "8:16 rbps=2 wbps=max riops=max wiops=max");
  Put("io.max", lines);
  EXPECT_EQ(Former("io", "io.max", "8:32 rbps=9"), "8:32 rbps=max wbps=max riops=max wiops=max");
  Put("io.weight", "default 100\n8:0 50\n");
  EXPECT_EQ(Former("io", "io.weight", "200"), "default 100");
  Put("io.weight", "default 100\n8:0 50\n");
  EXPECT_EQ(Former("io", "io.weight", "8:16 300"), "8:16 default");
  Put("io.latency", "");
  EXPECT_EQ(Former("io", "io.latency", "8:0 target=75"), "8:0 target=max");
  Put("rdma.max", "mlx4_0 hca_handle=2 hca_object=max\nmlx4_1 hca_handle=3 hca_object=max\n");
  EXPECT_EQ(Former("rdma", "rdma.max", "mlx4_1 hca_handle=1"),
            "mlx4_1 hca_handle=3 hca_object=max");
}

TEST_F(CgroupSettingsTest, WhatCannotBeKnownIsTold) {
  Put("io.cost.model", "");
  auto former = ReplaceSettings({{"io", "io.cost.model", "8:0 ctrl=user"}}, Here());
  ASSERT_TRUE(former.ok());
  Status restored = RestoreSettings(*former, Here());
  ASSERT_FALSE(restored.ok());
  EXPECT_THAT(restored.error().message(), HasSubstr("io.cost.model"));
}

TEST_F(CgroupSettingsTest, EveryPartIsTriedLastFirst) {
  Put("cpu.weight", "100");
  Put("memory.high", "max");
  Put("pids.max", "max");
  Put("hugetlb.2MB.max", "max");
  auto former = ReplaceSettings({{"cpu", "cpu.weight", "200"},
                                 {"memory", "memory.high", "111"},
                                 {"hugetlb", "hugetlb.2MB.max", "222"},
                                 {"pids", "pids.max", "333"}},
                                Here());
  ASSERT_TRUE(former.ok());
  ASSERT_EQ(former->size(), 4U);
  EXPECT_EQ(former->front().file, "pids.max");
  std::filesystem::remove(path_ + "/pids.max");
  std::filesystem::remove(path_ + "/memory.high");
  Status restored = RestoreSettings(*former, Here());
  ASSERT_FALSE(restored.ok());
  EXPECT_THAT(restored.error().message(),
              AllOf(HasSubstr("pids.max"), HasSubstr("memory.high"), Not(HasSubstr("cpu.weight")),
                    Not(HasSubstr("hugetlb"))));
  EXPECT_EQ(Get("cpu.weight"), "100");
  EXPECT_EQ(Get("hugetlb.2MB.max"), "max");
}

TEST_F(CgroupSettingsTest, AFailureTakesBackWhatWasWrittenAndSaysWhatItCouldNot) {
  Put("cpu.weight", "100");
  Put("io.cost.model", "");
  auto former = ReplaceSettings({{"cpu", "cpu.weight", "200"},
                                 {"io", "io.cost.model", "8:0 ctrl=user"},
                                 {"pids", "pids.max", "333"}},
                                Here());
  ASSERT_FALSE(former.ok());
  EXPECT_EQ(former.code(), Code::kFailedPrecondition);
  EXPECT_THAT(former.error().message(), AllOf(HasSubstr("pids.max"), HasSubstr("io.cost.model")));
  EXPECT_EQ(Get("cpu.weight"), "100");
}

TEST_F(CgroupSettingsTest, AnUndoDoesNotGoBelowTheMemoryThatIsInUse) {
  Put("cpu.weight", "100");
  Put("memory.max", "1000");
  auto former =
      ReplaceSettings({{"cpu", "cpu.weight", "200"}, {"memory", "memory.max", "9000"}}, Here());
  ASSERT_TRUE(former.ok());
  Put("memory.current", "5000");
  Put("memory.stat", "inactive_file 500\nactive_file 500\n");
  Status restored = RestoreSettings(*former, Here());
  ASSERT_FALSE(restored.ok());
  EXPECT_THAT(restored.error().message(), HasSubstr("memory_limit_in_bytes: 1000"));
  EXPECT_EQ(Get("memory.max"), "9000");
  EXPECT_EQ(Get("cpu.weight"), "100");
}

}  // namespace
}  // namespace berth::runtime
