#include "runtime/systemd_unit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Path(std::string_view slice) {
  auto path = SlicePath(slice, "cgroup_parent");
  return path.ok() ? *path : path.error().message();
}

TEST(SlicePath, PutsASliceWhereSystemdDoes) {
  EXPECT_EQ(Path("kubepods.slice"), "/kubepods.slice");
  EXPECT_EQ(Path("kubepods-burstable-pod1_2.slice"),
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice");
  EXPECT_EQ(Path("-.slice"), "");
  // As kubelet names it.
  EXPECT_EQ(Path("/kubepods.slice/kubepods-pod1.slice"), "/kubepods.slice/kubepods-pod1.slice");
}

TEST(SlicePath, RefusesWhatIsNoSlice) {
  for (const char* bad :
       {"", "/kubepods/pod1", "kubepods.scope", ".slice", "a--b.slice", "-a.slice", "a-.slice",
        "a b.slice", "a\n.slice", "../a.slice", "/x/a.slice", "/a.slice/../a.slice", "a/b.slice"}) {
    auto path = SlicePath(bad, "cgroup_parent");
    ASSERT_FALSE(path.ok()) << bad;
    EXPECT_EQ(path.code(), Code::kInvalidArgument) << bad;
    EXPECT_THAT(path.error().message(), HasSubstr("cgroup_parent")) << bad;
  }
  EXPECT_FALSE(SlicePath(std::string(300, 'a') + ".slice", "cgroup_parent").ok());
}

TEST(PropertiesOf, SaysWhatTheFilesSay) {
  EXPECT_THAT(PropertiesOf({{"cpu", "cpu.weight", "39"},
                            {"cpu", "cpu.max", "25000 100000"},
                            {"cpuset", "cpuset.cpus", "0-1,9"},
                            {"memory", "memory.max", "67108864"},
                            {"memory", "memory.swap.max", "max"},
                            {"pids", "pids.max", "100"},
                            {"hugetlb", "hugetlb.2MB.max", "0"},
                            {"memory", "memory.oom.group", "1"}}),
              ElementsAre(UnitProperty{"CPUWeight", uint64_t{39}},
                          UnitProperty{"CPUQuotaPerSecUSec", uint64_t{250'000}},
                          UnitProperty{"CPUQuotaPeriodUSec", uint64_t{100'000}},
                          UnitProperty{"AllowedCPUs", std::vector<uint8_t>{3, 2}},
                          UnitProperty{"MemoryMax", uint64_t{67108864}},
                          UnitProperty{"MemorySwapMax", kUnitInfinity},
                          UnitProperty{"TasksMax", uint64_t{100}}));
}

TEST(PropertiesOf, AQuotaIsNeverTighterThanWhatIsBelow) {
  EXPECT_THAT(PropertiesOf({{"cpu", "cpu.max", "1001 100000"}}),
              ElementsAre(UnitProperty{"CPUQuotaPerSecUSec", uint64_t{20'000}},
                          UnitProperty{"CPUQuotaPeriodUSec", uint64_t{100'000}}));
  EXPECT_THAT(PropertiesOf({{"cpu", "cpu.max", "max 50000"}}),
              ElementsAre(UnitProperty{"CPUQuotaPerSecUSec", kUnitInfinity},
                          UnitProperty{"CPUQuotaPeriodUSec", uint64_t{50'000}}));
}

}  // namespace
}  // namespace berth::runtime
