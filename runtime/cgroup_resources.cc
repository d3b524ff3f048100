#include "runtime/cgroup_resources.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace berth::runtime {

namespace {

// The kernel's largest NR_CPUS is 8192, its largest MAX_NUMNODES 1024.
constexpr uint32_t kMaxCpu = 8191;
constexpr uint32_t kMaxNode = 1023;
constexpr size_t kMaxListBytes = 16 << 10;
constexpr size_t kMaxUnifiedKeys = 64;
constexpr size_t kMaxUnifiedBytes = 4096;
// v1 shows "no limit" as the largest multiple of a page.
constexpr uint64_t kV1Unlimited = uint64_t{1} << 62;
constexpr std::string_view kDefaultPeriod = "100000";

Error Invalid(const auto&... words) {
  return {Code::kInvalidArgument, StrCat(words...)};
}

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < ' ' || c == 127;
}

// "0-3,7": numbers up to `max`, ranges that rise.
Status CheckCpuList(std::string_view text, uint32_t max, std::string_view field) {
  if (text.empty()) return Ok();
  if (text.size() > kMaxListBytes) return Invalid(field, ": longer than ", kMaxListBytes, " bytes");
  for (std::string_view part : Split(text, ',')) {
    size_t dash = part.find('-');
    auto first = ParseNumber<uint32_t>(part.substr(0, dash));
    auto last =
        dash == std::string_view::npos ? first : ParseNumber<uint32_t>(part.substr(dash + 1));
    if (!first || !last || *first > *last || *last > max) {
      return Invalid(field, ": \"", Printable(part, 40), "\" is not a number or range within 0-",
                     max);
    }
  }
  return Ok();
}

// "64KB", "2MB", "1GB".
bool IsPageSize(std::string_view text) {
  if (text.size() < 3 || text.size() > 12 || text[0] == '0') return false;
  std::string_view unit = text.substr(text.size() - 2);
  return (unit == "KB" || unit == "MB" || unit == "GB") &&
         ParseNumber<uint64_t>(text.substr(0, text.size() - 2)).has_value();
}

std::string_view ControllerOf(std::string_view key) {
  return key.substr(0, key.find('.'));
}

Status CheckUnified(const StringMap& unified) {
  constexpr std::array<std::string_view, 9> kControllers = {
      "cpu", "cpuset", "io", "memory", "hugetlb", "pids", "rdma", "misc", "dmem"};
  if (unified.size() > kMaxUnifiedKeys) {
    return Invalid("unified: more than ", kMaxUnifiedKeys, " keys");
  }
  for (const auto& [key, value] : unified) {
    std::string shown = StrCat("unified[\"", Printable(key, 80), "\"]");
    bool plain = std::all_of(key.begin(), key.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
             c == '.' || c == '_' || c == '-';
    });
    // Only a controller's files: "cgroup.procs" and its like are not limits.
    bool known = std::count(kControllers.begin(), kControllers.end(), ControllerOf(key)) > 0;
    if (!plain || !known || key.find('.') == std::string::npos || key.size() > 128) {
      return Invalid(shown, ": not a file of a cgroup v2 controller");
    }
    if (value.empty() || value.size() > kMaxUnifiedBytes ||
        std::any_of(value.begin(), value.end(), IsControl)) {
      return Invalid(shown, ": the value is empty, too long or not one line");
    }
  }
  return Ok();
}

Status CheckMemory(const LinuxResources& r) {
  if (r.memory_limit_bytes < -1) {
    return Invalid("memory_limit_in_bytes: ", r.memory_limit_bytes, " is negative");
  }
  if (r.memory_swap_limit_bytes < -1) {
    return Invalid("memory_swap_limit_in_bytes: ", r.memory_swap_limit_bytes, " is negative");
  }
  if (r.memory_swap_limit_bytes > 0 && r.memory_limit_bytes > r.memory_swap_limit_bytes) {
    return Invalid("memory_swap_limit_in_bytes: ", r.memory_swap_limit_bytes,
                   " includes memory and is below memory_limit_in_bytes ", r.memory_limit_bytes);
  }
  return Ok();
}

Status CheckCpu(const LinuxResources& r) {
  if (r.cpu_shares < 0) return Invalid("cpu_shares: ", r.cpu_shares, " is negative");
  if (r.cpu_period_us != 0 && (r.cpu_period_us < 1000 || r.cpu_period_us > 1'000'000)) {
    return Invalid("cpu_period: ", r.cpu_period_us, " is not within 1000..1000000");
  }
  // The kernel's upper bound is 2^44 ns (max_cfs_runtime).
  if (r.cpu_quota_us < -1 || (r.cpu_quota_us > 0 && r.cpu_quota_us < 1000) ||
      r.cpu_quota_us > (int64_t{1} << 44) / 1000) {
    return Invalid("cpu_quota: ", r.cpu_quota_us, " is neither -1 (none) nor at least 1000");
  }
  return Ok();
}

std::string NumberOr(int64_t value, std::string_view unlimited) {
  return value < 0 ? std::string(unlimited) : StrCat(value);
}

uint64_t CurrentV1Limit(const CgroupReader& read, const std::string& file) {
  auto text = read("memory", file);
  return text ? ParseNumber<uint64_t>(*text).value_or(kV1Unlimited) : kV1Unlimited;
}

// memory.limit_in_bytes may never be above memory.memsw.limit_in_bytes, not even in between.
void AddV1Memory(const LinuxResources& r, const CgroupReader& read,
                 std::vector<CgroupSetting>& out) {
  if (r.memory_limit_bytes == 0 && r.memory_swap_limit_bytes == 0) return;
  const uint64_t memory_now = CurrentV1Limit(read, "memory.limit_in_bytes");
  const uint64_t total_now = CurrentV1Limit(read, "memory.memsw.limit_in_bytes");
  // Unlimited memory says nothing about an allowance: then none is kept.
  const uint64_t allowance =
      memory_now >= kV1Unlimited
          ? 0
          : (total_now >= kV1Unlimited ? kV1Unlimited : total_now - memory_now);
  int64_t total = r.memory_swap_limit_bytes;
  if (total == 0) {
    bool endless = r.memory_limit_bytes < 0 || allowance >= kV1Unlimited;
    total = endless ? -1 : r.memory_limit_bytes + static_cast<int64_t>(allowance);
  }
  CgroupSetting memsw{
      "memory", "memory.memsw.limit_in_bytes", StrCat(total),
      r.memory_swap_limit_bytes == 0 || r.memory_swap_limit_bytes == r.memory_limit_bytes};
  if (r.memory_limit_bytes == 0) {
    out.push_back(std::move(memsw));
    return;
  }
  CgroupSetting limit{"memory", "memory.limit_in_bytes", StrCat(r.memory_limit_bytes)};
  bool raised = total < 0 || static_cast<uint64_t>(total) > total_now;
  out.push_back(raised ? memsw : limit);
  out.push_back(raised ? limit : memsw);
}

// A group's quota/period may not exceed its parent's, not even in between.
void AddV1Bandwidth(const LinuxResources& r, const CgroupReader& read,
                    std::vector<CgroupSetting>& out) {
  CgroupSetting period{"cpu", "cpu.cfs_period_us", StrCat(r.cpu_period_us)};
  CgroupSetting quota{"cpu", "cpu.cfs_quota_us", StrCat(r.cpu_quota_us)};
  if (r.cpu_period_us != 0 && r.cpu_quota_us != 0) {
    auto text = read("cpu", "cpu.cfs_period_us");
    int64_t now = text ? ParseNumber<int64_t>(*text).value_or(0) : 0;
    bool longer = r.cpu_period_us >= now;
    out.push_back(longer ? period : quota);
    out.push_back(longer ? quota : period);
  } else if (r.cpu_period_us != 0) {
    out.push_back(std::move(period));
  } else if (r.cpu_quota_us != 0) {
    out.push_back(std::move(quota));
  }
}

void AddCpuset(const LinuxResources& r, std::vector<CgroupSetting>& out) {
  if (!r.cpuset_cpus.empty()) out.push_back({"cpuset", "cpuset.cpus", r.cpuset_cpus});
  if (!r.cpuset_mems.empty()) out.push_back({"cpuset", "cpuset.mems", r.cpuset_mems});
}

void AddHugepages(const LinuxResources& r, std::string_view suffix,
                  std::vector<CgroupSetting>& out) {
  for (const auto& [size, bytes] : r.hugepage_limits) {
    // kubelet sends 0 for every page size it can think of.
    out.push_back({"hugetlb", StrCat("hugetlb.", size, suffix), StrCat(bytes), bytes == 0});
  }
}

// "cpu.max" is one file for both values: what is not given stays as it is.
std::string CpuMax(const LinuxResources& r, const CgroupReader& read) {
  std::string quota = "max";
  std::string period(kDefaultPeriod);
  if (auto now = read("cpu", "cpu.max")) {
    auto fields = Split(*now, ' ');
    if (fields.size() == 2) {
      quota = fields[0];
      period = fields[1];
    }
  }
  if (r.cpu_quota_us != 0) quota = NumberOr(r.cpu_quota_us, "max");
  if (r.cpu_period_us != 0) period = StrCat(r.cpu_period_us);
  return StrCat(quota, " ", period);
}

Status AddV2Memory(const LinuxResources& r, bool creating, const CgroupReader& read,
                   std::vector<CgroupSetting>& out) {
  if (r.memory_limit_bytes != 0) {
    out.push_back({"memory", "memory.max", NumberOr(r.memory_limit_bytes, "max")});
  }
  if (r.memory_swap_limit_bytes < 0) {
    out.push_back({"memory", "memory.swap.max", "max", true});
  } else if (r.memory_swap_limit_bytes > 0) {
    // CRI's figure is memory and swap together, v2's file is swap alone.
    int64_t memory = r.memory_limit_bytes;
    if (memory == 0) {
      auto text = read("memory", "memory.max");
      memory = text ? ParseNumber<int64_t>(*text).value_or(0) : 0;
    }
    if (memory <= 0 || memory > r.memory_swap_limit_bytes) {
      return Invalid("memory_swap_limit_in_bytes: ", r.memory_swap_limit_bytes,
                     " needs a memory limit that is no larger");
    }
    int64_t swap = r.memory_swap_limit_bytes - memory;
    out.push_back({"memory", "memory.swap.max", StrCat(swap), swap == 0});
  } else if (r.memory_limit_bytes > 0 && creating) {
    out.push_back({"memory", "memory.swap.max", "0", true});
  }
  return Ok();
}

}  // namespace

Status CheckResources(const LinuxResources& resources) {
  RETURN_IF_ERROR(CheckCpu(resources));
  RETURN_IF_ERROR(CheckMemory(resources));
  RETURN_IF_ERROR(CheckCpuList(resources.cpuset_cpus, kMaxCpu, "cpuset_cpus"));
  RETURN_IF_ERROR(CheckCpuList(resources.cpuset_mems, kMaxNode, "cpuset_mems"));
  if (resources.hugepage_limits.size() > 64) return Invalid("hugepage_limits: more than 64");
  for (const auto& [size, bytes] : resources.hugepage_limits) {
    if (!IsPageSize(size)) {
      return Invalid("hugepage_limits: page size \"", Printable(size, 20), "\" is not like 2MB");
    }
    if (bytes > INT64_MAX) return Invalid("hugepage_limits: ", size, ": ", bytes, " is too large");
  }
  return CheckUnified(resources.unified);
}

Status CheckCgroupPath(std::string_view path, std::string_view what) {
  auto refuse = [&](std::string_view why) {
    return Invalid(what, ": \"", Printable(path), "\" ", why);
  };
  if (path.size() > 3000) return refuse("is longer than 3000 bytes");
  if (path.empty() || path[0] != '/') {
    return path.ends_with(".slice")
               ? refuse("is for the systemd driver, this is the cgroupfs driver")
               : refuse("is not an absolute path");
  }
  if (std::any_of(path.begin(), path.end(), IsControl)) return refuse("has control characters");
  for (std::string_view part : Split(path.substr(1), '/')) {
    if (part.empty() || part == "." || part == ".." || part.size() > 255) {
      return refuse("has a part that is empty, \".\", \"..\" or too long");
    }
  }
  return Ok();
}

uint64_t CpuSharesToWeight(int64_t shares) {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  double l = std::log2(static_cast<double>(shares));
  double exponent = (l * l + 125 * l) / 612.0 - 7.0 / 34.0;
  // The subtrahend keeps 1024 at 100 in spite of rounding.
  return static_cast<uint64_t>(std::ceil(std::pow(10, exponent) - 1e-9));
}

Result<std::vector<CgroupSetting>> V1Settings(const LinuxResources& resources,
                                              const CgroupReader& read) {
  std::vector<CgroupSetting> out;
  if (resources.cpu_shares != 0) {
    out.push_back({"cpu", "cpu.shares", StrCat(std::max<int64_t>(resources.cpu_shares, 2))});
  }
  AddV1Bandwidth(resources, read, out);
  AddCpuset(resources, out);
  AddV1Memory(resources, read, out);
  AddHugepages(resources, ".limit_in_bytes", out);
  for (const auto& [key, value] : resources.unified) {
    if (key != "pids.max") {
      return Error(Code::kFailedPrecondition,
                   StrCat("unified[\"", key, "\"]: this machine has cgroup v1"));
    }
    out.push_back({"pids", key, value});
  }
  return out;
}

Result<std::vector<CgroupSetting>> V2Settings(const LinuxResources& resources, bool creating,
                                              const CgroupReader& read) {
  std::vector<CgroupSetting> out;
  if (resources.cpu_shares != 0) {
    out.push_back({"cpu", "cpu.weight", StrCat(CpuSharesToWeight(resources.cpu_shares))});
  }
  if (resources.cpu_quota_us != 0 || resources.cpu_period_us != 0) {
    out.push_back({"cpu", "cpu.max", CpuMax(resources, read)});
  }
  AddCpuset(resources, out);
  RETURN_IF_ERROR(AddV2Memory(resources, creating, read, out));
  AddHugepages(resources, ".max", out);
  // io's files hold a line for each device, which a roll-back could not take away again: they are
  // written last, when nothing can fail after them.
  for (bool io : {false, true}) {
    for (const auto& [key, value] : resources.unified) {
      if ((ControllerOf(key) == "io") == io) {
        out.push_back({std::string(ControllerOf(key)), key, value});
      }
    }
  }
  return out;
}

}  // namespace berth::runtime
