#include "runtime/stats.h"

#include "base/time.h"
#include "runtime/core.h"

namespace berth::runtime {

namespace {

// Two samples closer than this say little about a rate; the older rate is given again.
constexpr int64_t kMinIntervalNs = 100'000'000;

}  // namespace

StatsCollector::StatsCollector(Core& core) : core_(core) {}

Result<ContainerUsage> StatsCollector::Collect(const Container& container) {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(container.id));
  const std::string cgroup = entry->With([](const ContainerRecord& r) { return r.cgroup_path; });
  ContainerUsage usage;
  usage.container = container;
  usage.timestamp_ns = WallNs();
  if (container.state == ContainerState::kRunning) {
    ASSIGN_OR_RETURN(auto sample, core_.cgroups->Usage(cgroup));
    usage.cpu_usage_ns = sample.cpu_usage_ns;
    usage.memory_usage_bytes = sample.memory_usage_bytes;
    usage.memory_working_set_bytes = sample.memory_working_set_bytes;
    usage.memory_rss_bytes = sample.memory_rss_bytes;
    usage.memory_page_faults = sample.memory_page_faults;
    usage.memory_major_page_faults = sample.memory_major_page_faults;
    if (sample.memory_limit_bytes > sample.memory_working_set_bytes) {
      usage.memory_available_bytes = sample.memory_limit_bytes - sample.memory_working_set_bytes;
    }
    usage.swap_usage_bytes = sample.swap_usage_bytes;
    if (sample.swap_limit_bytes > sample.swap_usage_bytes) {
      usage.swap_available_bytes = sample.swap_limit_bytes - sample.swap_usage_bytes;
    }
    usage.process_count = sample.process_count;
  }
  usage.writable_layer_mountpoint = core_.snapshotter.root();
  auto layer = core_.snapshotter.SnapshotUsage(container.id);
  if (layer.ok()) {
    usage.writable_layer_bytes = layer->bytes;
    usage.writable_layer_inodes = layer->inodes;
  }
  MutexLock lock(mutex_);
  Sample& last = last_[container.id];
  const int64_t interval_ns = usage.timestamp_ns - last.timestamp_ns;
  if (interval_ns < kMinIntervalNs) {
    usage.cpu_nano_cores = last.cpu_nano_cores;
    return usage;
  }
  if (last.timestamp_ns != 0 && usage.cpu_usage_ns >= last.cpu_usage_ns) {
    const double cores = static_cast<double>(usage.cpu_usage_ns - last.cpu_usage_ns) /
                         static_cast<double>(interval_ns);
    usage.cpu_nano_cores = static_cast<uint64_t>(cores * 1e9);
  }
  last = {usage.timestamp_ns, usage.cpu_usage_ns, usage.cpu_nano_cores};
  return usage;
}

Result<ContainerUsage> StatsCollector::Get(const std::string& container_id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(container_id));
  return Collect(entry->With([](const ContainerRecord& record) { return record.container; }));
}

std::vector<ContainerUsage> StatsCollector::List(const ContainerFilter& filter) {
  std::vector<ContainerUsage> usages;
  for (const auto& entry : core_.index.containers.All()) {
    const Container container = entry->With([](const ContainerRecord& r) { return r.container; });
    if (container.state != ContainerState::kRunning) continue;
    if (!container.id.starts_with(filter.id) || !container.pod_id.starts_with(filter.pod_id))
      continue;
    if (!LabelsMatch(container.config.labels, filter.labels)) continue;
    auto usage = Collect(container);
    if (usage.ok()) usages.push_back(std::move(*usage));
  }
  // Samples of containers that are gone go too.
  MutexLock lock(mutex_);
  std::erase_if(last_,
                [&](const auto& sample) { return !core_.index.containers.Find(sample.first); });
  return usages;
}

}  // namespace berth::runtime
