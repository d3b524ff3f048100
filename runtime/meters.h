// The open files behind the statistics of running containers and ready pods, and their last
// samples, from which rates are made.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sync.h"
#include "runtime/cgroup_stats.h"
#include "runtime/network_stats.h"

namespace berth::runtime {

// CPU time per time, in billionths of a processor, over the time since the sample before. Samples
// closer than 100 ms say little: the rate before is given again.
class CpuRate {
 public:
  // Nothing until there are two samples, or if the counter went back.
  std::optional<uint64_t> Update(int64_t now_ns, uint64_t usage_ns);

 private:
  int64_t last_ns_ = 0;
  uint64_t last_usage_ns_ = 0;
  std::optional<uint64_t> nano_cores_;
};

struct Reading {
  int64_t timestamp_ns = 0;
  CgroupSample sample;
  std::optional<uint64_t> cpu_nano_cores;
};

// Thread-safe. Files open at the first reading and close with Forget(). Whoever reads makes sure
// afterwards that the container still runs, or the pod is still ready, and forgets it if not: what
// ends it says so first and forgets then, so one of the two comes last.
class Meters {
 public:
  explicit Meters(const CgroupDriver& cgroups);

  // `id` is a container's or a pod's. NotFound if the cgroup is not there.
  Result<Reading> ReadCgroup(const std::string& id, const std::string& cgroup_path);
  // `page_sizes`: those of HugePageSizes().
  Result<CgroupDetails> ReadDetails(const std::string& id, const std::string& cgroup_path,
                                    const std::vector<std::string>& page_sizes);
  Result<std::vector<InterfaceSample>> ReadNetwork(const std::string& pod_id,
                                                   const std::string& netns_path);
  void Forget(const std::string& id);

 private:
  struct Meter {
    Mutex mutex;
    std::optional<CgroupMeter> cgroup GUARDED_BY(mutex);
    std::optional<CgroupDirectories> directories GUARDED_BY(mutex);
    CpuRate cpu_rate GUARDED_BY(mutex);
    UniqueFd net_dev GUARDED_BY(mutex);
  };
  OpenCgroupDirectory OpenerOf(const std::string& cgroup_path) const;
  std::shared_ptr<Meter> Find(const std::string& id) EXCLUDES(mutex_);

  const CgroupDriver& cgroups_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Meter>> meters_ GUARDED_BY(mutex_);
};

}  // namespace berth::runtime
