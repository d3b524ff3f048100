#include "runtime/stats.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/time.h"
#include "runtime/core.h"
#include "runtime/pod_cgroup.h"

namespace berth::runtime {

namespace {

bool Runs(const ContainerRecord& record) {
  return record.container.state == ContainerState::kRunning;
}
bool IsReady(const PodRecord& record) {
  return record.phase == PodPhase::kReady && record.pod.state == PodState::kReady;
}

// Nothing for a container that has ended by now.
Result<std::optional<Reading>> ReadContainer(Core& core, ContainerEntry& entry,
                                             const std::string& id, const std::string& cgroup) {
  auto reading = core.meters->ReadCgroup(id, cgroup);
  if (!entry.With(Runs)) {
    core.meters->Forget(id);
    return std::optional<Reading>();
  }
  if (!reading.ok()) return std::move(reading).error();
  return std::optional(*std::move(reading));
}

Result<ContainerUsage> Collect(Core& core, ContainerEntry& entry) {
  ContainerUsage usage;
  std::string cgroup;
  const bool runs = entry.With([&](const ContainerRecord& record) {
    const Container& container = record.container;
    usage.id = container.id;
    usage.metadata = container.config.metadata;
    usage.labels = container.config.labels;
    usage.annotations = container.config.annotations;
    cgroup = record.cgroup_path;
    return Runs(record);
  });
  if (runs) {
    ASSIGN_OR_RETURN(usage.reading, ReadContainer(core, entry, usage.id, cgroup));
  }
  usage.writable_layer_mountpoint = core.snapshotter.containers_root();
  auto layer = core.snapshotter.RecentUsage(usage.id);
  if (layer.ok()) usage.writable_layer = *layer;
  return usage;
}

// Of containers that run.
void CollectInto(Core& core, ContainerEntry& entry, std::vector<ContainerUsage>& usages) {
  auto usage = Collect(core, entry);
  if (usage.ok() && usage->reading) usages.push_back(*std::move(usage));
}

std::optional<uint64_t> Sum(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  return a && b ? std::optional(*a + *b) : std::nullopt;
}

void Add(const MemorySample& from, MemorySample& to) {
  for (auto field :
       {&MemorySample::usage_bytes, &MemorySample::working_set_bytes, &MemorySample::rss_bytes,
        &MemorySample::cache_bytes, &MemorySample::mapped_file_bytes,
        &MemorySample::active_file_bytes, &MemorySample::inactive_file_bytes,
        &MemorySample::page_faults, &MemorySample::major_page_faults}) {
    to.*field += from.*field;
  }
  to.limit_bytes = Sum(to.limit_bytes, from.limit_bytes);
}

void Add(const CgroupSample& from, CgroupSample& to) {
  to.cpu_usage_ns = Sum(to.cpu_usage_ns, from.cpu_usage_ns);
  to.tasks = Sum(to.tasks, from.tasks);
  if (to.memory && from.memory) {
    Add(*from.memory, *to.memory);
  } else {
    to.memory.reset();
  }
  if (to.swap && from.swap) {
    to.swap->usage_bytes += from.swap->usage_bytes;
    to.swap->limit_bytes = Sum(to.swap->limit_bytes, from.swap->limit_bytes);
  } else {
    to.swap.reset();
  }
}

// What is needed of a pod, and of how many ready pods its cgroup is.
struct PodView {
  std::string cgroup;
  bool own_network = false;
  bool ready = false;
};

PodView Look(Core& core, PodEntry& entry, PodUsage& usage) {
  return entry.With([&](const PodRecord& record) {
    const PodConfig& config = record.pod.config;
    usage.id = record.pod.id;
    usage.metadata = config.metadata;
    usage.labels = config.labels;
    usage.annotations = config.annotations;
    return PodView{CgroupParentOf(core, record.pod),
                   config.security.namespaces.network == NamespaceMode::kPod, IsReady(record)};
  });
}

// Parents that more than one ready pod has: what is in these is not one pod's.
std::set<std::string> SharedParents(Core& core) {
  std::set<std::string> seen, shared;
  for (const auto& entry : core.index.pods.All()) {
    entry->With([&](const PodRecord& record) {
      const std::string& parent = record.pod.config.cgroup_parent;
      if (IsReady(record) && !parent.empty() && !seen.insert(parent).second) shared.insert(parent);
    });
  }
  return shared;
}

void ReadPod(Core& core, PodEntry& entry, const PodView& view, const std::set<std::string>& shared,
             PodUsage& usage) {
  if (!view.ready) return;
  if (!shared.contains(view.cgroup)) {
    // A parent of kubelet's need not be there before the first container.
    auto reading = core.meters->ReadCgroup(usage.id, view.cgroup);
    if (reading.ok()) usage.reading = *std::move(reading);
  }
  if (!usage.reading) usage.reading = SumOfReadings(usage.containers);
  if (view.own_network) {
    usage.network_timestamp_ns = WallNs();
    auto network = core.meters->ReadNetwork(usage.id, core.PodDir(usage.id) + "/ns/net");
    if (network.ok()) usage.network = *std::move(network);
  }
  if (!entry.With(IsReady)) core.meters->Forget(usage.id);
}

}  // namespace

std::optional<Reading> SumOfReadings(const std::vector<ContainerUsage>& containers) {
  std::optional<Reading> sum;
  for (const ContainerUsage& container : containers) {
    if (!container.reading) continue;
    if (!sum) {
      sum = container.reading;
      for (auto pressure : {&CgroupSample::cpu_pressure, &CgroupSample::memory_pressure,
                            &CgroupSample::io_pressure}) {
        (sum->sample.*pressure).reset();
      }
      continue;
    }
    Add(container.reading->sample, sum->sample);
    sum->cpu_nano_cores = Sum(sum->cpu_nano_cores, container.reading->cpu_nano_cores);
    sum->timestamp_ns = std::max(sum->timestamp_ns, container.reading->timestamp_ns);
  }
  return sum;
}

StatsCollector::StatsCollector(Core& core) : core_(core) {}

Result<ContainerUsage> StatsCollector::Get(const std::string& container_id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(container_id));
  return Collect(core_, *entry);
}

std::vector<ContainerUsage> StatsCollector::List(const ContainerFilter& filter) {
  std::vector<ContainerUsage> usages;
  for (const auto& entry : core_.index.containers.All()) {
    const bool wanted = entry->With([&](const ContainerRecord& record) {
      const Container& container = record.container;
      return Runs(record) && container.id.starts_with(filter.id) &&
             container.pod_id.starts_with(filter.pod_id) &&
             LabelsMatch(container.config.labels, filter.labels);
    });
    if (wanted) CollectInto(core_, *entry, usages);
  }
  return usages;
}

Result<PodUsage> StatsCollector::GetPod(const std::string& pod_id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(pod_id));
  PodUsage usage;
  const PodView view = Look(core_, *entry, usage);
  ContainerFilter mine;
  mine.pod_id = usage.id;
  usage.containers = List(mine);
  ReadPod(core_, *entry, view, SharedParents(core_), usage);
  return usage;
}

std::vector<PodUsage> StatsCollector::ListPods(const PodFilter& filter) {
  std::multimap<std::string, std::shared_ptr<ContainerEntry>> by_pod;
  for (const auto& entry : core_.index.containers.All()) {
    std::string pod = entry->With([](const ContainerRecord& record) {
      return Runs(record) ? record.container.pod_id : std::string();
    });
    if (!pod.empty()) by_pod.emplace(std::move(pod), entry);
  }
  const std::set<std::string> shared = SharedParents(core_);
  std::vector<PodUsage> usages;
  for (const auto& entry : core_.index.pods.All()) {
    const bool wanted = entry->With([&](const PodRecord& record) {
      return IsReady(record) && record.pod.id.starts_with(filter.id) &&
             LabelsMatch(record.pod.config.labels, filter.labels);
    });
    if (!wanted) continue;
    PodUsage usage;
    const PodView view = Look(core_, *entry, usage);
    auto [begin, end] = by_pod.equal_range(usage.id);
    for (auto it = begin; it != end; ++it) CollectInto(core_, *it->second, usage.containers);
    ReadPod(core_, *entry, view, shared, usage);
    usages.push_back(std::move(usage));
  }
  return usages;
}

}  // namespace berth::runtime
