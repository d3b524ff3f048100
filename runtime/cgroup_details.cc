#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/file.h"
#include "runtime/cgroup_stats.h"
#include "runtime/cgroup_tree.h"

namespace berth::runtime {

namespace {

// More block devices than this are nobody's.
constexpr size_t kMaxDevices = 256;
constexpr uint64_t kNsPerUs = 1000;

using DeviceIo = CgroupDetails::DeviceIo;

std::optional<uint64_t> Number(int dir, const std::string& file) {
  auto text = ReadCgroupFile(dir, file);
  return text ? ParseNumber<uint64_t>(*text) : std::nullopt;
}

// pids.max: 0 for "max".
std::optional<uint64_t> TasksMax(int dir) {
  auto text = ReadCgroupFile(dir, "pids.max");
  if (!text) return std::nullopt;
  return *text == "max" ? 0 : ParseNumber<uint64_t>(*text);
}

void AddProcesses(int dir, const std::string& file, std::vector<pid_t>& pids) {
  auto text = ReadCgroupFile(dir, file);
  if (!text) return;
  for (std::string_view line : Split(*text, '\n')) {
    // 0: a process outside of this PID namespace.
    if (auto pid = ParseNumber<pid_t>(line); pid && *pid > 0) pids.push_back(*pid);
  }
}

// "254:0": the entry of that device, made where missing; null if it is none, or one too many.
DeviceIo* DeviceOf(std::string_view text, std::vector<DeviceIo>& io) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return nullptr;
  const auto major = ParseNumber<uint32_t>(text.substr(0, colon));
  const auto minor = ParseNumber<uint32_t>(text.substr(colon + 1));
  if (!major || !minor) return nullptr;
  auto found = std::find_if(io.begin(), io.end(), [&](const DeviceIo& device) {
    return device.major == *major && device.minor == *minor;
  });
  if (found != io.end()) return &*found;
  if (io.size() >= kMaxDevices) return nullptr;
  io.push_back({*major, *minor});
  return &io.back();
}

// blkio.throttle.io_serviced_recursive and the like: lines "254:0 Read 17".
void AddV1Io(int dir, const char* file, uint64_t DeviceIo::*read, uint64_t DeviceIo::*write,
             std::vector<DeviceIo>& io) {
  const std::string text = ReadCgroupFile(dir, file).value_or("");
  for (std::string_view line : Split(text, '\n')) {
    auto words = Split(line, ' ');
    if (words.size() != 3 || (words[1] != "Read" && words[1] != "Write")) continue;
    DeviceIo* device = DeviceOf(words[0], io);
    auto value = ParseNumber<uint64_t>(words[2]);
    if (device != nullptr && value) device->*(words[1] == "Read" ? read : write) = *value;
  }
}

// io.stat: lines "254:0 rbytes=1 wbytes=2 rios=3 wios=4".
void AddV2Io(int dir, std::vector<DeviceIo>& io) {
  constexpr struct {
    std::string_view key;
    uint64_t DeviceIo::*field;
  } kKeys[] = {{"rbytes=", &DeviceIo::read_bytes},
               {"wbytes=", &DeviceIo::write_bytes},
               {"rios=", &DeviceIo::reads},
               {"wios=", &DeviceIo::writes}};
  const std::string text = ReadCgroupFile(dir, "io.stat").value_or("");
  for (std::string_view line : Split(text, '\n')) {
    auto words = Split(line, ' ');
    DeviceIo* device = DeviceOf(words[0], io);
    if (device == nullptr) continue;
    for (std::string_view word : words) {
      for (const auto& known : kKeys) {
        if (!word.starts_with(known.key)) continue;
        device->*known.field = ParseNumber<uint64_t>(word.substr(known.key.size())).value_or(0);
      }
    }
  }
}

void ReadV1Cpu(CgroupDirectories& directories, CgroupDetails& details) {
  if (auto dir = directories.Of("cpuacct"); dir.ok()) {
    details.cpu_user_ns = Number(*dir, "cpuacct.usage_user");
    details.cpu_system_ns = Number(*dir, "cpuacct.usage_sys");
    // Not the pids hierarchy, in which execs have cgroups of their own.
    AddProcesses(*dir, "cgroup.procs", details.processes);
  }
  if (auto dir = directories.Of("cpu"); dir.ok()) {
    const std::string stat = ReadCgroupFile(*dir, "cpu.stat").value_or("");
    details.cfs_periods = KeyedValue(stat, "nr_periods");
    details.cfs_throttled_periods = KeyedValue(stat, "nr_throttled");
    details.cfs_throttled_ns = KeyedValue(stat, "throttled_time");
  }
}

void ReadV1Memory(CgroupDirectories& directories, CgroupDetails& details) {
  auto dir = directories.Of("memory");
  if (!dir.ok()) return;
  details.memory_max_usage_bytes = Number(*dir, "memory.max_usage_in_bytes");
  details.memory_fail_count = Number(*dir, "memory.failcnt");
  details.memory_kernel_bytes = Number(*dir, "memory.kmem.usage_in_bytes");
  details.oom_kills =
      KeyedValue(ReadCgroupFile(*dir, "memory.oom_control").value_or(""), "oom_kill");
}

void ReadV1(CgroupDirectories& directories, const std::vector<std::string>& page_sizes,
            CgroupDetails& details) {
  ReadV1Cpu(directories, details);
  ReadV1Memory(directories, details);
  if (auto dir = directories.Of("pids"); dir.ok()) details.tasks_max = TasksMax(*dir);
  if (auto dir = directories.Of("blkio"); dir.ok()) {
    AddV1Io(*dir, "blkio.throttle.io_service_bytes_recursive", &DeviceIo::read_bytes,
            &DeviceIo::write_bytes, details.io);
    AddV1Io(*dir, "blkio.throttle.io_serviced_recursive", &DeviceIo::reads, &DeviceIo::writes,
            details.io);
  }
  if (auto dir = directories.Of("hugetlb"); dir.ok()) {
    for (const std::string& size : page_sizes) {
      auto usage = Number(*dir, StrCat("hugetlb.", size, ".usage_in_bytes"));
      if (!usage) continue;
      details.huge_pages.push_back(
          {size, *usage, Number(*dir, StrCat("hugetlb.", size, ".max_usage_in_bytes"))});
    }
  }
}

// On v2 an exec has a cgroup below the container's, and a container may make others.
void AddV2Processes(int dir, std::vector<pid_t>& pids) {
  AddProcesses(dir, "cgroup.procs", pids);
  auto listing = OpenAt(dir, ".", O_RDONLY | O_DIRECTORY);
  struct stat info {};
  // A cgroup has two links and one for each cgroup in it.
  if (!listing.ok() || fstat(listing->get(), &info) != 0 || info.st_nlink <= 2) return;
  auto below = CgroupsBelow(dir, ".");
  if (!below.ok()) return;
  for (const std::string& cgroup : *below) AddProcesses(dir, cgroup + "/cgroup.procs", pids);
}

void ReadV2(int dir, const std::vector<std::string>& page_sizes, CgroupDetails& details) {
  auto scaled = [](std::optional<uint64_t> us) {
    return us ? std::optional(*us * kNsPerUs) : std::nullopt;
  };
  const std::string cpu = ReadCgroupFile(dir, "cpu.stat").value_or("");
  details.cpu_user_ns = scaled(KeyedValue(cpu, "user_usec"));
  details.cpu_system_ns = scaled(KeyedValue(cpu, "system_usec"));
  details.cfs_periods = KeyedValue(cpu, "nr_periods");
  details.cfs_throttled_periods = KeyedValue(cpu, "nr_throttled");
  details.cfs_throttled_ns = scaled(KeyedValue(cpu, "throttled_usec"));
  details.memory_max_usage_bytes = Number(dir, "memory.peak");
  const std::string events = ReadCgroupFile(dir, "memory.events").value_or("");
  details.memory_fail_count = KeyedValue(events, "max");
  details.oom_kills = KeyedValue(events, "oom_kill");
  details.memory_kernel_bytes =
      KeyedValue(ReadCgroupFile(dir, "memory.stat").value_or(""), "kernel");
  details.tasks_max = TasksMax(dir);
  AddV2Io(dir, details.io);
  for (const std::string& size : page_sizes) {
    auto usage = Number(dir, StrCat("hugetlb.", size, ".current"));
    if (usage) details.huge_pages.push_back({size, *usage, std::nullopt});
  }
  AddV2Processes(dir, details.processes);
}

}  // namespace

Result<int> CgroupDirectories::Of(std::string_view controller) {
  auto found = opened_.find(controller);
  if (found != opened_.end()) return found->second.get();
  ASSIGN_OR_RETURN(UniqueFd directory, open_(controller));
  return opened_.emplace(controller, std::move(directory)).first->second.get();
}

Result<CgroupDetails> ReadCgroupDetails(CgroupVersion version, CgroupDirectories& directories,
                                        const std::vector<std::string>& page_sizes) {
  CgroupDetails details;
  if (version == CgroupVersion::kV1) {
    ReadV1(directories, page_sizes, details);
    return details;
  }
  ASSIGN_OR_RETURN(const int dir, directories.Of("memory"));
  ReadV2(dir, page_sizes, details);
  return details;
}

std::vector<std::string> HugePageSizes() {
  constexpr std::string_view kPrefix = "hugepages-", kSuffix = "kB";
  constexpr uint64_t kKilo = 1024;
  std::vector<std::string> sizes;
  auto dir = Open("/sys/kernel/mm/hugepages", O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return sizes;
  (void)ForEachEntry(dir->get(), [&](const std::string& name) {
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return Ok();
    auto kilobytes = ParseNumber<uint64_t>(std::string_view(name).substr(
        kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size()));
    if (!kilobytes) return Ok();
    if (*kilobytes >= kKilo * kKilo) {
      sizes.push_back(StrCat(*kilobytes / kKilo / kKilo, "GB"));
    } else if (*kilobytes >= kKilo) {
      sizes.push_back(StrCat(*kilobytes / kKilo, "MB"));
    } else {
      sizes.push_back(StrCat(*kilobytes, "KB"));
    }
    return Ok();
  });
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

}  // namespace berth::runtime
