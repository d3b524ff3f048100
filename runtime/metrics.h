// The metrics of ready pods and their running containers, gathered when asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/metric_table.h"
#include "runtime/stats.h"
#include "runtime/types.h"

namespace berth::runtime {

struct MetricValue {
  Metric metric = Metric::kCount;
  uint64_t value = 0;
  std::vector<std::string> labels = {};  // of the metric's own
  int64_t timestamp_ns = 0;              // 0: read for this answer
};
struct ContainerMetrics {
  std::string id, name;
  ImageSpec image;
  std::string image_id;
  std::vector<MetricValue> values;
};
struct PodMetrics {
  std::string id;
  PodMetadata metadata;
  std::vector<MetricValue> values;  // of the network
  std::vector<ContainerMetrics> containers;
};

// Thread-safe. A value that is unknown is left out.
class MetricsCollector {
 public:
  MetricsCollector(Core& core, StatsCollector& stats);
  std::vector<PodMetrics> List();

 private:
  Core& core_;
  StatsCollector& stats_;
  const std::vector<std::string> page_sizes_;
};

}  // namespace berth::runtime
