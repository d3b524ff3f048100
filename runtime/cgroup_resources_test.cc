#include "runtime/cgroup_resources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/cgroup_devices.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Lines(const Result<std::vector<CgroupSetting>>& settings) {
  std::vector<std::string> lines;
  if (!settings.ok()) return {settings.error().message()};
  for (const CgroupSetting& s : *settings) lines.push_back(StrCat(s.file, "=", s.value));
  return lines;
}

// A reader of a cgroup with these files.
CgroupReader Files(StringMap files) {
  return [files = std::move(files)](std::string_view, const std::string& file) {
    auto it = files.find(file);
    return it == files.end() ? std::nullopt : std::optional<std::string>(it->second);
  };
}

TEST(CpuSharesToWeight, MeetsBothDefaultsAndBothEnds) {
  EXPECT_EQ(CpuSharesToWeight(2), 1u);
  EXPECT_EQ(CpuSharesToWeight(1024), 100u);
  EXPECT_EQ(CpuSharesToWeight(262144), 10000u);
  EXPECT_EQ(CpuSharesToWeight(1), 1u);
  EXPECT_EQ(CpuSharesToWeight(INT64_MAX), 10000u);
  uint64_t last = 0;
  for (int64_t shares = 2; shares <= 262144; shares *= 2) {
    EXPECT_GE(CpuSharesToWeight(shares), last);
    last = CpuSharesToWeight(shares);
  }
}

TEST(CheckResources, NamesTheFieldOfABadValue) {
  auto refused = [](auto set, std::string_view field) {
    LinuxResources r;
    set(r);
    Status status = CheckResources(r);
    ASSERT_FALSE(status.ok()) << field;
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_THAT(status.error().message(), HasSubstr(std::string(field)));
  };
  refused([](auto& r) { r.cpu_shares = -1; }, "cpu_shares");
  refused([](auto& r) { r.cpu_quota_us = -2; }, "cpu_quota");
  refused([](auto& r) { r.cpu_quota_us = 999; }, "cpu_quota");
  refused([](auto& r) { r.cpu_period_us = 999; }, "cpu_period");
  refused([](auto& r) { r.cpu_period_us = 1'000'001; }, "cpu_period");
  refused([](auto& r) { r.memory_limit_bytes = -5; }, "memory_limit_in_bytes");
  refused([](auto& r) { r.memory_swap_limit_bytes = -5; }, "memory_swap_limit_in_bytes");
  refused([](auto& r) { r.memory_limit_bytes = 10, r.memory_swap_limit_bytes = 9; }, "memory_swap");
  for (const char* cpus : {"0-9999999999", "3-1", "a", "1,", "-1", "0-8192", "1--2", "0 1"}) {
    refused([&](auto& r) { r.cpuset_cpus = cpus; }, "cpuset_cpus");
  }
  refused([](auto& r) { r.cpuset_cpus = std::string(100'000, '1'); }, "cpuset_cpus");
  refused([](auto& r) { r.cpuset_mems = "1024"; }, "cpuset_mems");
  for (const char* size : {"2", "MB", "../2MB", "02MB", "2TB"}) {
    refused([&](auto& r) { r.hugepage_limits = {{size, 1}}; }, "hugepage_limits");
  }
  for (const char* key : {"memory/max", "../memory.max", "cgroup.procs", "memory", "",
                          "release_agent", "memory.max\n"}) {
    refused([&](auto& r) { r.unified = {{key, "1"}}; }, "unified");
  }
  refused([](auto& r) { r.unified = {{"memory.high", "1\n2"}}; }, "unified");
  refused([](auto& r) { r.unified = {{"memory.high", ""}}; }, "unified");
}

TEST(CheckResources, TakesWhatKubeletSends) {
  LinuxResources r;
  r.cpu_shares = 2;
  r.cpu_quota_us = -1;
  r.cpu_period_us = 100'000;
  r.memory_limit_bytes = 64 << 20;
  r.memory_swap_limit_bytes = 64 << 20;
  r.cpuset_cpus = "0-3,7,9-9";
  r.cpuset_mems = "0";
  r.hugepage_limits = {{"2MB", 0}, {"1GB", 0}, {"64KB", 0}};
  r.unified = {{"memory.oom.group", "1"}, {"memory.high", "1000"}, {"hugetlb.2MB.max", "0"}};
  EXPECT_TRUE(CheckResources(r).ok());
}

TEST(CheckCgroupPath, RefusesWhatLeadsElsewhere) {
  for (const char* path :
       {"", "a", "/", "//a", "/a/", "/a/../b", "/..", "/a/./b", "/a\nb", "kubepods.slice"}) {
    EXPECT_EQ(CheckCgroupPath(path, "cgroup_parent").code(), Code::kInvalidArgument) << path;
  }
  EXPECT_TRUE(CheckCgroupPath("/kubepods/burstable/pod1-2_3.x/..c", "cgroup_parent").ok());
}

TEST(V1Settings, MovesMemoryAndSwapInTheOrderTheKernelTakes) {
  LinuxResources r;
  r.memory_limit_bytes = 200;
  r.memory_swap_limit_bytes = 300;
  auto low = Files({{"memory.limit_in_bytes", "100"}, {"memory.memsw.limit_in_bytes", "150"}});
  EXPECT_THAT(Lines(V1Settings(r, low)),
              ElementsAre("memory.memsw.limit_in_bytes=300", "memory.limit_in_bytes=200"));
  auto high = Files({{"memory.limit_in_bytes", "400"}, {"memory.memsw.limit_in_bytes", "400"}});
  EXPECT_THAT(Lines(V1Settings(r, high)),
              ElementsAre("memory.limit_in_bytes=200", "memory.memsw.limit_in_bytes=300"));
}

TEST(V1Settings, KeepsTheSwapAllowanceWhenOnlyMemoryChanges) {
  const std::string none = "9223372036854771712";
  LinuxResources r;
  r.memory_limit_bytes = 200;
  EXPECT_THAT(Lines(V1Settings(r, Files({{"memory.limit_in_bytes", none},
                                         {"memory.memsw.limit_in_bytes", none}}))),
              ElementsAre("memory.limit_in_bytes=200", "memory.memsw.limit_in_bytes=200"));
  EXPECT_THAT(Lines(V1Settings(r, Files({{"memory.limit_in_bytes", "100"},
                                         {"memory.memsw.limit_in_bytes", "150"}}))),
              ElementsAre("memory.memsw.limit_in_bytes=250", "memory.limit_in_bytes=200"));
  EXPECT_THAT(Lines(V1Settings(r, Files({{"memory.limit_in_bytes", "100"},
                                         {"memory.memsw.limit_in_bytes", none}}))),
              ElementsAre("memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=200"));
  r.memory_limit_bytes = -1;
  EXPECT_THAT(Lines(V1Settings(r, Files({{"memory.limit_in_bytes", "100"},
                                         {"memory.memsw.limit_in_bytes", "100"}}))),
              ElementsAre("memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"));
}

TEST(V1Settings, ChangesPeriodAndQuotaWithoutExceedingTheirRatioInBetween) {
  LinuxResources r;
  r.cpu_period_us = 20'000;
  r.cpu_quota_us = 10'000;
  EXPECT_THAT(Lines(V1Settings(r, Files({{"cpu.cfs_period_us", "100000"}}))),
              ElementsAre("cpu.cfs_quota_us=10000", "cpu.cfs_period_us=20000"));
  EXPECT_THAT(Lines(V1Settings(r, Files({{"cpu.cfs_period_us", "10000"}}))),
              ElementsAre("cpu.cfs_period_us=20000", "cpu.cfs_quota_us=10000"));
}

TEST(V1Settings, KnowsPidsMaxOnly) {
  LinuxResources r;
  r.unified = {{"pids.max", "10"}};
  EXPECT_THAT(Lines(V1Settings(r, Files({}))), ElementsAre("pids.max=10"));
  r.unified = {{"memory.high", "10"}};
  EXPECT_EQ(V1Settings(r, Files({})).code(), Code::kFailedPrecondition);
}

TEST(V2Settings, ConvertsEveryField) {
  LinuxResources r;
  r.cpu_shares = 1024;
  r.cpu_quota_us = 50'000;
  r.cpu_period_us = 100'000;
  r.memory_limit_bytes = 1000;
  r.memory_swap_limit_bytes = 1500;
  r.cpuset_cpus = "0-1";
  r.cpuset_mems = "0";
  r.hugepage_limits = {{"2MB", 7}};
  r.unified = {{"io.max", "8:0 rbps=1"}, {"memory.high", "900"}, {"pids.max", "max"}};
  EXPECT_THAT(
      Lines(V2Settings(r, true, Files({}))),
      ElementsAre("cpu.weight=100", "cpu.max=50000 100000", "cpuset.cpus=0-1", "cpuset.mems=0",
                  "memory.max=1000", "memory.swap.max=500", "hugetlb.2MB.max=7", "memory.high=900",
                  "pids.max=max", "io.max=8:0 rbps=1"));
}

TEST(V2Settings, KeepsTheHalfOfCpuMaxThatIsNotGiven) {
  auto now = Files({{"cpu.max", "20000 50000"}});
  LinuxResources quota;
  quota.cpu_quota_us = -1;
  EXPECT_THAT(Lines(V2Settings(quota, false, now)), ElementsAre("cpu.max=max 50000"));
  LinuxResources period;
  period.cpu_period_us = 80'000;
  EXPECT_THAT(Lines(V2Settings(period, false, now)), ElementsAre("cpu.max=20000 80000"));
}

TEST(V2Settings, AllowsNoSwapUnlessAskedTo) {
  LinuxResources r;
  r.memory_limit_bytes = 1000;
  EXPECT_THAT(Lines(V2Settings(r, true, Files({}))),
              ElementsAre("memory.max=1000", "memory.swap.max=0"));
  EXPECT_THAT(Lines(V2Settings(r, false, Files({}))), ElementsAre("memory.max=1000"));
  r.memory_limit_bytes = 0;
  r.memory_swap_limit_bytes = 1500;
  EXPECT_EQ(V2Settings(r, false, Files({{"memory.max", "max"}})).code(), Code::kInvalidArgument);
  EXPECT_THAT(Lines(V2Settings(r, false, Files({{"memory.max", "1000"}}))),
              ElementsAre("memory.swap.max=500"));
}

DeviceRule Rule(bool allow, char type, int64_t major, int64_t minor, std::string access) {
  return {allow, type, major, minor, std::move(access)};
}

std::vector<std::string> Exceptions(const Result<DevicePolicy>& policy) {
  std::vector<std::string> lines;
  if (!policy.ok()) return {policy.error().message()};
  for (const DeviceRule& r : policy->exceptions) lines.push_back(V1DeviceLine(r));
  return lines;
}

TEST(DevicePolicy, ReducesRulesAsV1DoesWhenTheyAreWrittenInOrder) {
  auto policy = MakeDevicePolicy({Rule(true, 'c', 9, 9, "r"), Rule(false, 'a', -1, -1, "rwm"),
                                  Rule(true, 'c', 1, 3, "r"), Rule(true, 'c', 1, 3, "w"),
                                  Rule(true, 'b', 8, -1, "rwm"), Rule(false, 'b', 8, -1, "m")});
  EXPECT_THAT(Exceptions(policy), ElementsAre("c 1:3 rw", "b 8:* rw"));
  EXPECT_FALSE(policy->default_allow);
  policy = MakeDevicePolicy({Rule(true, 'a', -1, -1, "rwm"), Rule(false, 'c', 1, 5, "w")});
  EXPECT_TRUE(policy->default_allow);
  EXPECT_THAT(Exceptions(policy), ElementsAre("c 1:5 w"));
}

TEST(DevicePolicy, RefusesWhatItCannotExpress) {
  EXPECT_EQ(MakeDevicePolicy({Rule(true, 'c', -1, -1, "m"), Rule(false, 'c', 1, 3, "m")}).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(MakeDevicePolicy({Rule(true, 'x', 1, 1, "r")}).code(), Code::kInvalidArgument);
  EXPECT_EQ(MakeDevicePolicy({Rule(true, 'c', 1, 1, "q")}).code(), Code::kInvalidArgument);
  EXPECT_EQ(MakeDevicePolicy({Rule(true, 'c', 1, 1, "")}).code(), Code::kInvalidArgument);
  EXPECT_EQ(MakeDevicePolicy({Rule(true, 'c', 1 << 24, 1, "r")}).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth::runtime
