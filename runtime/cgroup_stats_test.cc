// Directories of plain files stand for cgroups, so that both versions are read on any machine.
#include "runtime/cgroup_stats.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/file.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;

class CgroupStatsTest : public ::testing::Test {
 protected:
  void Put(const std::string& file, const std::string& text) {
    const std::filesystem::path path = dir_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::trunc) << text;
  }
  // v1: a directory of each controller's name; v2: one for all.
  OpenCgroupDirectory V1() {
    return [this](std::string_view controller) {
      return Open(dir_ / std::string(controller), O_PATH | O_DIRECTORY);
    };
  }
  OpenCgroupDirectory V2() {
    return [this](std::string_view) { return Open(dir_.path(), O_PATH | O_DIRECTORY); };
  }

  testing::TempDir dir_;
};

TEST_F(CgroupStatsTest, V2IsReadWhole) {
  Put("cpu.stat", "usage_usec 5\nuser_usec 3\n");
  Put("memory.stat",
      "anon 700\nfile 500\nfile_mapped 60\ninactive_file 400\nactive_file 50\npgfault 9\n"
      "pgmajfault 2\n");
  Put("memory.current", "1500\n");
  Put("memory.max", "4096\n");
  Put("memory.swap.current", "11\n");
  Put("memory.swap.max", "22\n");
  Put("pids.current", "3\n");
  Put("cpu.pressure",
      "some avg10=34.58 avg60=41.63 avg300=37.62 total=8214471001\n"
      "full avg10=0.50 avg60=0.00 avg300=0.00 total=7\n");
  auto meter = CgroupMeter::Open(CgroupVersion::kV2, V2());
  ASSERT_TRUE(meter.ok()) << meter.error().message();
  auto sample = meter->Read();
  ASSERT_TRUE(sample.ok()) << sample.error().message();
  EXPECT_EQ(sample->cpu_usage_ns, 5000u);
  EXPECT_EQ(sample->tasks, 3u);
  ASSERT_TRUE(sample->memory);
  EXPECT_EQ(sample->memory->usage_bytes, 1500u);
  EXPECT_EQ(sample->memory->working_set_bytes, 1100u);
  EXPECT_EQ(sample->memory->rss_bytes, 700u);
  EXPECT_EQ(sample->memory->cache_bytes, 500u);
  EXPECT_EQ(sample->memory->mapped_file_bytes, 60u);
  EXPECT_EQ(sample->memory->page_faults, 9u);
  EXPECT_EQ(sample->memory->major_page_faults, 2u);
  EXPECT_EQ(sample->memory->limit_bytes, 4096u);
  EXPECT_EQ(sample->swap->usage_bytes, 11u);
  EXPECT_EQ(sample->swap->limit_bytes, 22u);
  ASSERT_TRUE(sample->cpu_pressure);
  EXPECT_DOUBLE_EQ(sample->cpu_pressure->some.avg10, 34.58);
  EXPECT_DOUBLE_EQ(sample->cpu_pressure->some.avg60, 41.63);
  EXPECT_DOUBLE_EQ(sample->cpu_pressure->some.avg300, 37.62);
  EXPECT_EQ(sample->cpu_pressure->some.total_us, 8214471001u);
  EXPECT_DOUBLE_EQ(sample->cpu_pressure->full.avg10, 0.5);
  EXPECT_EQ(sample->cpu_pressure->full.total_us, 7u);
  EXPECT_FALSE(sample->io_pressure);

  // The files stay open: what is in them now counts.
  Put("cpu.stat", "usage_usec 6\n");
  EXPECT_EQ(meter->Read()->cpu_usage_ns, 6000u);
}

TEST_F(CgroupStatsTest, WhatV2DoesNotTellIsMissing) {
  Put("cpu.stat", "usage_usec 5\n");
  auto meter = CgroupMeter::Open(CgroupVersion::kV2, V2());
  ASSERT_TRUE(meter.ok());
  auto sample = meter->Read();
  ASSERT_TRUE(sample.ok());
  EXPECT_EQ(sample->cpu_usage_ns, 5000u);
  EXPECT_FALSE(sample->memory);
  EXPECT_FALSE(sample->swap);
  EXPECT_FALSE(sample->tasks);
  EXPECT_FALSE(sample->memory_pressure);

  Put("memory.current", "1500\n");
  Put("memory.stat", "anon 700\n");
  Put("memory.max", "max\n");
  meter = CgroupMeter::Open(CgroupVersion::kV2, V2());
  ASSERT_TRUE(meter.ok());
  EXPECT_EQ(meter->Read()->memory->usage_bytes, 1500u);
  EXPECT_FALSE(meter->Read()->memory->limit_bytes);
}

TEST_F(CgroupStatsTest, V1IsReadWithWhatIsBelow) {
  Put("cpuacct/cpuacct.usage", "123456\n");
  Put("memory/memory.usage_in_bytes", "1500\n");
  Put("memory/memory.stat",
      "rss 1\ntotal_rss 700\ntotal_cache 800\ntotal_inactive_file 400\ntotal_pgfault 9\n"
      "total_pgmajfault 2\ntotal_swap 11\nhierarchical_memory_limit 4096\n"
      "hierarchical_memsw_limit 6144\n");
  Put("pids/pids.current", "3\n");
  auto meter = CgroupMeter::Open(CgroupVersion::kV1, V1());
  ASSERT_TRUE(meter.ok()) << meter.error().message();
  auto sample = meter->Read();
  ASSERT_TRUE(sample.ok()) << sample.error().message();
  EXPECT_EQ(sample->cpu_usage_ns, 123456u);
  EXPECT_EQ(sample->tasks, 3u);
  EXPECT_EQ(sample->memory->rss_bytes, 700u);
  EXPECT_EQ(sample->memory->working_set_bytes, 1100u);
  EXPECT_EQ(sample->memory->limit_bytes, 4096u);
  EXPECT_EQ(sample->swap->usage_bytes, 11u);
  EXPECT_EQ(sample->swap->limit_bytes, 2048u);
  EXPECT_FALSE(sample->cpu_pressure);

  Put("memory/memory.stat",
      "total_rss 700\ntotal_inactive_file 400000\n"
      "hierarchical_memory_limit 9223372036854771712\n");
  sample = meter->Read();
  ASSERT_TRUE(sample.ok());
  EXPECT_FALSE(sample->memory->limit_bytes);
  EXPECT_FALSE(sample->swap);
  EXPECT_EQ(sample->memory->working_set_bytes, 0u);  // the two files are of different moments
}

TEST_F(CgroupStatsTest, ACgroupThatIsNotThereIsNotFound) {
  auto missing = [&](std::string_view) { return Open(dir_ / "none", O_PATH | O_DIRECTORY); };
  EXPECT_EQ(CgroupMeter::Open(CgroupVersion::kV1, missing).code(), Code::kNotFound);
  EXPECT_EQ(CgroupMeter::Open(CgroupVersion::kV2, missing).code(), Code::kNotFound);
  CgroupDirectories none(missing);
  EXPECT_EQ(ReadCgroupDetails(CgroupVersion::kV2, none, {}).code(), Code::kNotFound);
}

TEST_F(CgroupStatsTest, V1Details) {
  Put("cpuacct/cpuacct.usage_user", "30\n");
  Put("cpuacct/cpuacct.usage_sys", "40\n");
  Put("cpuacct/cgroup.procs", "17\n0\n23\n");
  Put("cpu/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 77\n");
  Put("memory/memory.max_usage_in_bytes", "9000\n");
  Put("memory/memory.failcnt", "4\n");
  Put("memory/memory.kmem.usage_in_bytes", "55\n");
  Put("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
  Put("pids/pids.max", "max\n");
  Put("blkio/blkio.throttle.io_service_bytes_recursive",
      "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Total 12288\nTotal 12288\n");
  Put("blkio/blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 2\nTotal 3\n");
  Put("hugetlb/hugetlb.2MB.usage_in_bytes", "2097152\n");
  Put("hugetlb/hugetlb.2MB.max_usage_in_bytes", "4194304\n");
  CgroupDirectories directories(V1());
  auto details = ReadCgroupDetails(CgroupVersion::kV1, directories, {"1GB", "2MB"});
  ASSERT_TRUE(details.ok()) << details.error().message();
  EXPECT_EQ(details->cpu_user_ns, 30u);
  EXPECT_EQ(details->cpu_system_ns, 40u);
  EXPECT_THAT(details->processes, ElementsAre(17, 23));
  EXPECT_EQ(details->cfs_periods, 5u);
  EXPECT_EQ(details->cfs_throttled_periods, 2u);
  EXPECT_EQ(details->cfs_throttled_ns, 77u);
  EXPECT_EQ(details->memory_max_usage_bytes, 9000u);
  EXPECT_EQ(details->memory_fail_count, 4u);
  EXPECT_EQ(details->memory_kernel_bytes, 55u);
  EXPECT_EQ(details->oom_kills, 6u);
  EXPECT_EQ(details->tasks_max, 0u);
  ASSERT_EQ(details->io.size(), 1u);
  EXPECT_EQ(details->io[0].major, 254u);
  EXPECT_EQ(details->io[0].read_bytes, 4096u);
  EXPECT_EQ(details->io[0].write_bytes, 8192u);
  EXPECT_EQ(details->io[0].reads, 1u);
  EXPECT_EQ(details->io[0].writes, 2u);
  ASSERT_EQ(details->huge_pages.size(), 1u);
  EXPECT_EQ(details->huge_pages[0].page_size, "2MB");
  EXPECT_EQ(details->huge_pages[0].usage_bytes, 2097152u);
  EXPECT_EQ(details->huge_pages[0].max_usage_bytes, 4194304u);
}

TEST_F(CgroupStatsTest, V2Details) {
  Put("cpu.stat",
      "usage_usec 9\nuser_usec 3\nsystem_usec 4\nnr_periods 5\nnr_throttled 2\n"
      "throttled_usec 7\n");
  Put("memory.stat", "kernel 55\n");
  Put("memory.peak", "9000\n");
  Put("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 6\n");
  Put("pids.max", "100\n");
  Put("io.stat",
      "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\nnonsense\n7:1 rbytes=5\n");
  Put("cgroup.procs", "17\n");
  Put("exec-1/cgroup.procs", "23\n");
  Put("hugetlb.2MB.current", "2097152\n");
  CgroupDirectories directories(V2());
  auto details = ReadCgroupDetails(CgroupVersion::kV2, directories, {"2MB"});
  ASSERT_TRUE(details.ok()) << details.error().message();
  EXPECT_EQ(details->cpu_user_ns, 3000u);
  EXPECT_EQ(details->cpu_system_ns, 4000u);
  EXPECT_EQ(details->cfs_throttled_ns, 7000u);
  EXPECT_EQ(details->memory_kernel_bytes, 55u);
  EXPECT_EQ(details->memory_max_usage_bytes, 9000u);
  EXPECT_EQ(details->memory_fail_count, 4u);
  EXPECT_EQ(details->oom_kills, 6u);
  EXPECT_EQ(details->tasks_max, 100u);
  EXPECT_THAT(details->processes, ElementsAre(17, 23));
  ASSERT_EQ(details->io.size(), 2u);
  EXPECT_EQ(details->io[0].writes, 2u);
  EXPECT_EQ(details->io[1].read_bytes, 5u);
  ASSERT_EQ(details->huge_pages.size(), 1u);
  EXPECT_FALSE(details->huge_pages[0].max_usage_bytes);
}

TEST(ParsePressureTest, RefusesWhatIsNone) {
  EXPECT_FALSE(ParsePressure(""));
  EXPECT_FALSE(ParsePressure("some avg10=x total=1\n"));
  EXPECT_FALSE(ParsePressure("some avg10=1.0 total=-1\n"));
  EXPECT_TRUE(ParsePressure("some avg10=1.0 avg60=1.0 avg300=1.0 total=1\n"));
}

}  // namespace
}  // namespace berth::runtime
