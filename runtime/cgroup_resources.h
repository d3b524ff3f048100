// From CRI's resource values to the files of a cgroup: checks and conversions, no effects.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup.h"
#include "runtime/types.h"

namespace berth::runtime {

// One value to be written into one file of a cgroup.
struct CgroupSetting {
  std::string controller;  // "memory"
  std::string file;        // "memory.max"
  std::string value;
  // Asks for nothing that the kernel would not do anyway: dropped where the file is missing.
  bool optional = false;
};

// What a file of the cgroup holds now, without the line end; nothing if there is no such file.
using CgroupReader =
    std::function<std::optional<std::string>(std::string_view controller, const std::string& file)>;

// Settings in the order in which the kernel takes them, whatever the present values are: a limit
// and the limit above it are moved so that their relation holds in between.
//
// `unified`: "pids.max" has the same file on both versions; any other key is FailedPrecondition on
// v1, as with runc. A memory limit without a swap limit allows no swap on creation (as with
// containerd) and leaves the swap allowance as it is on update.
Result<std::vector<CgroupSetting>> V1Settings(const LinuxResources& resources,
                                              const CgroupReader& read);
Result<std::vector<CgroupSetting>> V2Settings(const LinuxResources& resources, bool creating,
                                              const CgroupReader& read);

// cpu.shares (2..262144, default 1024) as cpu.weight (1..10000, default 100), by the curve that
// runc and crun use since 2025: both defaults and both ends meet.
uint64_t CpuSharesToWeight(int64_t shares);

// "/a/b": absolute, no empty part, no "." or "..", no control bytes. InvalidArgument begins with
// `what`.
Status CheckCgroupPath(std::string_view path, std::string_view what);

}  // namespace berth::runtime
