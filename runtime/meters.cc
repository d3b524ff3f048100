#include "runtime/meters.h"

#include "base/time.h"

namespace berth::runtime {

std::optional<uint64_t> CpuRate::Update(int64_t now_ns, uint64_t usage_ns) {
  constexpr int64_t kMinIntervalNs = 100'000'000;
  const int64_t interval_ns = now_ns - last_ns_;
  if (last_ns_ != 0 && interval_ns < kMinIntervalNs) return nano_cores_;
  nano_cores_.reset();
  if (last_ns_ != 0 && usage_ns >= last_usage_ns_) {
    const double cores =
        static_cast<double>(usage_ns - last_usage_ns_) / static_cast<double>(interval_ns);
    nano_cores_ = static_cast<uint64_t>(cores * 1e9);
  }
  last_ns_ = now_ns;
  last_usage_ns_ = usage_ns;
  return nano_cores_;
}

Meters::Meters(const CgroupDriver& cgroups) : cgroups_(cgroups) {}

std::shared_ptr<Meters::Meter> Meters::Find(const std::string& id) {
  MutexLock lock(mutex_);
  std::shared_ptr<Meter>& meter = meters_[id];
  if (!meter) meter = std::make_shared<Meter>();
  return meter;
}

void Meters::Forget(const std::string& id) {
  MutexLock lock(mutex_);
  meters_.erase(id);
}

OpenCgroupDirectory Meters::OpenerOf(const std::string& cgroup_path) const {
  return [this, cgroup_path](std::string_view controller) {
    return cgroups_.OpenDirectory(cgroup_path, controller);
  };
}

Result<CgroupDetails> Meters::ReadDetails(const std::string& id, const std::string& cgroup_path,
                                          const std::vector<std::string>& page_sizes) {
  const std::shared_ptr<Meter> meter = Find(id);
  MutexLock lock(meter->mutex);
  if (!meter->directories) meter->directories.emplace(OpenerOf(cgroup_path));
  return ReadCgroupDetails(cgroups_.version(), *meter->directories, page_sizes);
}

Result<Reading> Meters::ReadCgroup(const std::string& id, const std::string& cgroup_path) {
  const std::shared_ptr<Meter> meter = Find(id);
  MutexLock lock(meter->mutex);
  if (!meter->cgroup) {
    ASSIGN_OR_RETURN(meter->cgroup, CgroupMeter::Open(cgroups_.version(), OpenerOf(cgroup_path)));
  }
  Reading reading;
  reading.timestamp_ns = WallNs();
  const int64_t now_ns = MonotonicNs();
  auto sample = meter->cgroup->Read();
  if (!sample.ok()) {
    meter->cgroup.reset();  // should it be made anew, the next reading finds it
    meter->directories.reset();
    return std::move(sample).error();
  }
  reading.sample = *std::move(sample);
  if (reading.sample.cpu_usage_ns) {
    reading.cpu_nano_cores = meter->cpu_rate.Update(now_ns, *reading.sample.cpu_usage_ns);
  }
  return reading;
}

Result<std::vector<InterfaceSample>> Meters::ReadNetwork(const std::string& pod_id,
                                                         const std::string& netns_path) {
  const std::shared_ptr<Meter> meter = Find(pod_id);
  MutexLock lock(meter->mutex);
  if (!meter->net_dev.ok()) {
    ASSIGN_OR_RETURN(meter->net_dev, OpenNetworkStats(netns_path));
  }
  return ReadNetworkStats(meter->net_dev.get());
}

}  // namespace berth::runtime
