// What a cgroup has used. The files that kubelet asks for every few seconds stay open from one
// reading to the next, so that a reading is one pread(2) a file. Of what only the metrics endpoint
// needs the directories stay open: for each open file of a cgroup the kernel keeps a page and more.
//
// A value that the kernel does not tell (no such controller, no pressure accounting) is missing,
// never 0.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/cgroup.h"

namespace berth::runtime {

// Pressure stall information (kernel: Documentation/accounting/psi.rst): percentages of the time,
// and the whole time in microseconds.
struct PressureLine {
  double avg10 = 0, avg60 = 0, avg300 = 0;
  uint64_t total_us = 0;
};
struct Pressure {
  PressureLine some, full;
};

struct MemorySample {
  uint64_t usage_bytes = 0;
  uint64_t working_set_bytes = 0;  // usage less the page cache that could go at once
  uint64_t rss_bytes = 0, cache_bytes = 0, mapped_file_bytes = 0;
  uint64_t active_file_bytes = 0, inactive_file_bytes = 0;
  uint64_t page_faults = 0, major_page_faults = 0;
  std::optional<uint64_t> limit_bytes;
};

struct SwapSample {
  uint64_t usage_bytes = 0;
  std::optional<uint64_t> limit_bytes;
};

// One reading of a cgroup and all below it.
struct CgroupSample {
  std::optional<uint64_t> cpu_usage_ns;
  std::optional<MemorySample> memory;
  std::optional<SwapSample> swap;
  std::optional<uint64_t> tasks;  // threads, as the pids controller counts
  std::optional<Pressure> cpu_pressure, memory_pressure, io_pressure;
};

// What only the metrics need.
struct CgroupDetails {
  struct DeviceIo {
    uint32_t major = 0, minor = 0;
    uint64_t read_bytes = 0, write_bytes = 0, reads = 0, writes = 0;
  };
  struct HugePages {
    std::string page_size;  // "2MB"
    uint64_t usage_bytes = 0;
    std::optional<uint64_t> max_usage_bytes;
  };
  std::optional<uint64_t> cpu_user_ns, cpu_system_ns;
  std::optional<uint64_t> cfs_periods, cfs_throttled_periods, cfs_throttled_ns;
  std::optional<uint64_t> memory_max_usage_bytes, memory_fail_count, memory_kernel_bytes;
  std::optional<uint64_t> oom_kills;
  std::optional<uint64_t> tasks_max;  // 0: no limit
  std::vector<DeviceIo> io;
  std::vector<HugePages> huge_pages;
  std::vector<pid_t> processes;
};

// A directory of the cgroup by controller (CgroupDriver::OpenDirectory).
using OpenCgroupDirectory = std::function<Result<UniqueFd>(std::string_view controller)>;

// The directories of one cgroup, each opened when it is first asked for. Not thread-safe.
class CgroupDirectories {
 public:
  explicit CgroupDirectories(OpenCgroupDirectory open) : open_(std::move(open)) {}
  // Borrowed. The error is that of opening it.
  Result<int> Of(std::string_view controller);

 private:
  OpenCgroupDirectory open_;
  std::map<std::string, UniqueFd, std::less<>> opened_;
};

// Not thread-safe.
class CgroupMeter {
 public:
  // NotFound if there is no such cgroup.
  static Result<CgroupMeter> Open(CgroupVersion version, const OpenCgroupDirectory& open);
  // NotFound once the cgroup has been removed.
  Result<CgroupSample> Read() const;

 private:
  // Which files there are depends on the version; see the tables in cgroup_stats.cc.
  static constexpr size_t kMaxFiles = 10;
  Status ReadV1(CgroupSample& sample) const;
  Status ReadV2(CgroupSample& sample) const;

  CgroupVersion version_ = CgroupVersion::kV2;
  UniqueFd files_[kMaxFiles];
};

// NotFound if there is no such cgroup. `page_sizes`: those of HugePageSizes().
Result<CgroupDetails> ReadCgroupDetails(CgroupVersion version, CgroupDirectories& directories,
                                        const std::vector<std::string>& page_sizes);

// The machine's huge page sizes as the files of the hugetlb controller write them: "2MB", "1GB".
std::vector<std::string> HugePageSizes();

// "key value" in memory.stat, cpu.stat and the like.
std::optional<uint64_t> KeyedValue(std::string_view text, std::string_view key);
// The text of a pressure file; nothing if it is no such text.
std::optional<Pressure> ParsePressure(std::string_view text);

}  // namespace berth::runtime
