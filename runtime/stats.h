// Resource usage of containers, read from their cgroups when asked for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sync.h"
#include "runtime/types.h"

namespace berth::runtime {

class Core;

struct ContainerUsage {
  Container container;
  int64_t timestamp_ns = 0;
  uint64_t cpu_usage_ns = 0;    // total
  uint64_t cpu_nano_cores = 0;  // average since the sample before, 0 for the first
  uint64_t memory_usage_bytes = 0, memory_working_set_bytes = 0, memory_rss_bytes = 0;
  uint64_t memory_available_bytes = 0;  // limit minus working set; 0 without a limit
  uint64_t memory_page_faults = 0, memory_major_page_faults = 0;
  uint64_t swap_usage_bytes = 0, swap_available_bytes = 0;
  uint64_t process_count = 0;
  std::string writable_layer_mountpoint;
  uint64_t writable_layer_bytes = 0, writable_layer_inodes = 0;
};

class StatsCollector {
 public:
  explicit StatsCollector(Core& core);
  Result<ContainerUsage> Get(const std::string& container_id);
  // Containers that are running; one that ends meanwhile is left out.
  std::vector<ContainerUsage> List(const ContainerFilter& filter);

 private:
  struct Sample {
    int64_t timestamp_ns = 0;
    uint64_t cpu_usage_ns = 0;
    uint64_t cpu_nano_cores = 0;
  };
  Result<ContainerUsage> Collect(const Container& container);

  Core& core_;
  Mutex mutex_;
  std::map<std::string, Sample> last_ GUARDED_BY(mutex_);
};

}  // namespace berth::runtime
