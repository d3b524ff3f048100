#include "runtime/metrics.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "base/time.h"
#include "runtime/core.h"
#include "runtime/open_files.h"

namespace berth::runtime {

namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kUsPerSecond = 1'000'000;

using Values = std::vector<MetricValue>;

void Put(Values& values, Metric metric, std::optional<uint64_t> value) {
  if (value) values.push_back({metric, *value});
}

std::optional<uint64_t> Seconds(std::optional<uint64_t> ns) {
  return ns ? std::optional(*ns / kNsPerSecond) : std::nullopt;
}

// Names of block devices, looked up once for an answer.
class Devices {
 public:
  const std::string& Name(uint32_t major, uint32_t minor) {
    std::string& name = names_[{major, minor}];
    if (!name.empty()) return name;
    name = StrCat(major, ":", minor);
    char target[256];
    const std::string link = "/sys/dev/block/" + name;
    const ssize_t n = readlink(link.c_str(), target, sizeof target);
    // A btrfs or an overlay has a number but no device.
    if (n <= 0 || static_cast<size_t>(n) == sizeof target) return name;
    const std::string_view path(target, static_cast<size_t>(n));
    name = StrCat("/dev/", path.substr(path.rfind('/') + 1));
    return name;
  }

 private:
  std::map<std::pair<uint32_t, uint32_t>, std::string> names_;
};

// The file system of the writable layers, the same for all containers.
struct FileSystem {
  std::string device;
  uint64_t bytes = 0, inodes = 0, inodes_free = 0;
};

std::optional<FileSystem> LookAtFileSystem(const std::string& directory, Devices& devices) {
  struct stat info {};
  struct statvfs fs {};
  if (stat(directory.c_str(), &info) != 0 || statvfs(directory.c_str(), &fs) != 0) {
    return std::nullopt;
  }
  return FileSystem{devices.Name(major(info.st_dev), minor(info.st_dev)), fs.f_blocks * fs.f_frsize,
                    fs.f_files, fs.f_ffree};
}

void PutCpu(const CgroupSample& sample, const CgroupDetails& details, Values& values) {
  Put(values, Metric::kCpuUser, Seconds(details.cpu_user_ns));
  Put(values, Metric::kCpuSystem, Seconds(details.cpu_system_ns));
  if (sample.cpu_usage_ns) {
    values.push_back({Metric::kCpuUsage, *Seconds(sample.cpu_usage_ns), {"total"}});
  }
  Put(values, Metric::kCfsPeriods, details.cfs_periods);
  Put(values, Metric::kCfsThrottledPeriods, details.cfs_throttled_periods);
  Put(values, Metric::kCfsThrottled, Seconds(details.cfs_throttled_ns));
}

void PutMemory(const CgroupSample& sample, const CgroupDetails& details, Values& values) {
  if (sample.swap) Put(values, Metric::kMemorySwap, sample.swap->usage_bytes);
  Put(values, Metric::kMemoryKernel, details.memory_kernel_bytes);
  Put(values, Metric::kMemoryFailCount, details.memory_fail_count);
  Put(values, Metric::kMemoryMaxUsage, details.memory_max_usage_bytes);
  Put(values, Metric::kOomEvents, details.oom_kills);
  for (const CgroupDetails::HugePages& pages : details.huge_pages) {
    values.push_back({Metric::kHugeUsage, pages.usage_bytes, {pages.page_size}});
    if (pages.max_usage_bytes) {
      values.push_back({Metric::kHugeMaxUsage, *pages.max_usage_bytes, {pages.page_size}});
    }
  }
  if (!sample.memory) return;
  const MemorySample& memory = *sample.memory;
  Put(values, Metric::kMemoryCache, memory.cache_bytes);
  Put(values, Metric::kMemoryRss, memory.rss_bytes);
  Put(values, Metric::kMemoryMappedFile, memory.mapped_file_bytes);
  Put(values, Metric::kMemoryUsage, memory.usage_bytes);
  Put(values, Metric::kMemoryWorkingSet, memory.working_set_bytes);
  Put(values, Metric::kMemoryActiveFile, memory.active_file_bytes);
  Put(values, Metric::kMemoryInactiveFile, memory.inactive_file_bytes);
  // A container's cgroup has none below it but those of its execs.
  for (const char* scope : {"container", "hierarchy"}) {
    values.push_back({Metric::kMemoryFailures, memory.page_faults, {"pgfault", scope}});
    values.push_back({Metric::kMemoryFailures, memory.major_page_faults, {"pgmajfault", scope}});
  }
}

void PutPressure(const CgroupSample& sample, Values& values) {
  const struct {
    const std::optional<Pressure>& pressure;
    Metric stalled, waiting;
  } kinds[] = {
      {sample.cpu_pressure, Metric::kPressureCpuStalled, Metric::kPressureCpuWaiting},
      {sample.memory_pressure, Metric::kPressureMemoryStalled, Metric::kPressureMemoryWaiting},
      {sample.io_pressure, Metric::kPressureIoStalled, Metric::kPressureIoWaiting}};
  for (const auto& kind : kinds) {
    if (!kind.pressure) continue;
    Put(values, kind.stalled, kind.pressure->full.total_us / kUsPerSecond);
    Put(values, kind.waiting, kind.pressure->some.total_us / kUsPerSecond);
  }
}

void PutIo(const CgroupDetails& details, Devices& devices, Values& values) {
  for (const CgroupDetails::DeviceIo& io : details.io) {
    const std::string& name = devices.Name(io.major, io.minor);
    values.push_back({Metric::kFsReadsBytes, io.read_bytes, {name}});
    values.push_back({Metric::kFsReads, io.reads, {name}});
    values.push_back({Metric::kFsWritesBytes, io.write_bytes, {name}});
    values.push_back({Metric::kFsWrites, io.writes, {name}});
    const std::string number = StrCat(io.major), second = StrCat(io.minor);
    values.push_back({Metric::kBlkioUsage, io.read_bytes, {name, number, second, "Read"}});
    values.push_back({Metric::kBlkioUsage, io.write_bytes, {name, number, second, "Write"}});
  }
}

void PutFileSystem(const FileSystem& fs, const ContainerUsage& usage, Values& values) {
  values.push_back({Metric::kFsInodesFree, fs.inodes_free, {fs.device}});
  values.push_back({Metric::kFsInodesTotal, fs.inodes, {fs.device}});
  values.push_back({Metric::kFsLimit, fs.bytes, {fs.device}});
  if (!usage.writable_layer) return;
  values.push_back({Metric::kFsUsage,
                    usage.writable_layer->usage.bytes,
                    {fs.device},
                    usage.writable_layer->measured_at_ns});
}

void PutProcesses(const CgroupSample& sample, const CgroupDetails& details, pid_t init,
                  Values& values) {
  Put(values, Metric::kProcesses, details.processes.size());
  Put(values, Metric::kThreads, sample.tasks);
  Put(values, Metric::kThreadsMax, details.tasks_max);
  if (auto files = CountOpenFiles(details.processes)) {
    Put(values, Metric::kFileDescriptors, files->descriptors);
    Put(values, Metric::kSockets, files->sockets);
  }
  rlimit64 limit{};
  if (init > 0 && prlimit64(init, RLIMIT_NOFILE, nullptr, &limit) == 0 &&
      limit.rlim_cur != RLIM64_INFINITY) {
    values.push_back({Metric::kUlimitsSoft, limit.rlim_cur, {"max_open_files"}});
  }
}

void PutSpec(const Container& container, Values& values) {
  auto put = [&](Metric metric, int64_t value) {
    Put(values, metric, static_cast<uint64_t>(std::max<int64_t>(value, 0)));
  };
  const LinuxResources& resources = container.resources;
  put(Metric::kStartTime, container.started_at_ns / static_cast<int64_t>(kNsPerSecond));
  put(Metric::kSpecCpuPeriod, resources.cpu_period_us);
  put(Metric::kSpecCpuShares, resources.cpu_shares);
  if (resources.cpu_quota_us > 0) put(Metric::kSpecCpuQuota, resources.cpu_quota_us);
  put(Metric::kSpecMemoryLimit, resources.memory_limit_bytes);
  put(Metric::kSpecMemorySwapLimit, resources.memory_swap_limit_bytes);
  auto reserved = resources.unified.find("memory.min");
  put(Metric::kSpecMemoryReservation,
      reserved == resources.unified.end() ? 0 : ParseNumber<int64_t>(reserved->second).value_or(0));
}

void PutNetwork(const PodUsage& usage, Values& values) {
  constexpr std::pair<Metric, uint64_t InterfaceSample::*> kFields[] = {
      {Metric::kReceiveBytes, &InterfaceSample::rx_bytes},
      {Metric::kReceivePackets, &InterfaceSample::rx_packets},
      {Metric::kReceiveDropped, &InterfaceSample::rx_dropped},
      {Metric::kReceiveErrors, &InterfaceSample::rx_errors},
      {Metric::kTransmitBytes, &InterfaceSample::tx_bytes},
      {Metric::kTransmitPackets, &InterfaceSample::tx_packets},
      {Metric::kTransmitDropped, &InterfaceSample::tx_dropped},
      {Metric::kTransmitErrors, &InterfaceSample::tx_errors}};
  if (!usage.network) return;
  for (const InterfaceSample& interface : *usage.network) {
    for (const auto& [metric, field] : kFields) {
      values.push_back({metric, interface.*field, {interface.name}});
    }
  }
}

}  // namespace

MetricsCollector::MetricsCollector(Core& core, StatsCollector& stats)
    : core_(core), stats_(stats), page_sizes_(HugePageSizes()) {}

std::vector<PodMetrics> MetricsCollector::List() {
  Devices devices;
  const auto fs = LookAtFileSystem(core_.snapshotter.containers_root(), devices);
  std::vector<PodMetrics> pods;
  for (const PodUsage& usage : stats_.ListPods({})) {
    PodMetrics pod{usage.id, usage.metadata, {}, {}};
    PutNetwork(usage, pod.values);
    for (const ContainerUsage& container_usage : usage.containers) {
      auto entry = core_.index.containers.Find(container_usage.id);
      if (!entry) continue;
      ContainerMetrics container{container_usage.id, container_usage.metadata.name, {}, "", {}};
      std::string cgroup;
      pid_t init = 0;
      entry->With([&](const ContainerRecord& record) {
        cgroup = record.cgroup_path;
        init = record.container.pid;
        container.image = record.container.config.image;
        container.image_id = record.container.image_id;
        PutSpec(record.container, container.values);
      });
      auto details = core_.meters->ReadDetails(container_usage.id, cgroup, page_sizes_);
      const bool runs = entry->With([](const ContainerRecord& record) {
        return record.container.state == ContainerState::kRunning;
      });
      if (!runs) core_.meters->Forget(container_usage.id);
      if (!runs || !details.ok()) continue;
      const CgroupSample& sample = container_usage.reading->sample;
      PutCpu(sample, *details, container.values);
      PutMemory(sample, *details, container.values);
      PutPressure(sample, container.values);
      PutIo(*details, devices, container.values);
      PutProcesses(sample, *details, init, container.values);
      if (fs) PutFileSystem(*fs, container_usage, container.values);
      Put(container.values, Metric::kLastSeen, static_cast<uint64_t>(WallNs()) / kNsPerSecond);
      pod.containers.push_back(std::move(container));
    }
    pods.push_back(std::move(pod));
  }
  return pods;
}

}  // namespace berth::runtime
