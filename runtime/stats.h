// Resource usage of containers and pods, read when asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup_stats.h"
#include "runtime/meters.h"
#include "runtime/network_stats.h"
#include "runtime/state.h"
#include "runtime/types.h"
#include "snapshotter/snapshotter.h"

namespace berth::runtime {

class Core;

struct ContainerUsage {
  std::string id;
  ContainerMetadata metadata;
  StringMap labels, annotations;
  // Empty unless it runs.
  std::optional<Reading> reading;
  // Missing while a large one is measured for the first time.
  std::optional<snapshotter::MeasuredUsage> writable_layer;
  std::string writable_layer_mountpoint;
};

struct PodUsage {
  std::string id;
  PodMetadata metadata;
  StringMap labels, annotations;
  // Of the pod's own cgroup; of its containers together if it has none to itself. Empty if neither
  // is there.
  std::optional<Reading> reading;
  int64_t network_timestamp_ns = 0;
  // Missing for a pod that is stopped or in the host's network.
  std::optional<std::vector<InterfaceSample>> network;
  std::vector<ContainerUsage> containers;  // those that run
};

// Thread-safe. Nothing here takes a lock that a verb holds while it works.
class StatsCollector {
 public:
  explicit StatsCollector(Core& core);

  // NotFound. One that does not run has its writable layer only.
  Result<ContainerUsage> Get(const std::string& container_id);
  // Containers that run; one that ends meanwhile is left out.
  std::vector<ContainerUsage> List(const ContainerFilter& filter);

  Result<PodUsage> GetPod(const std::string& pod_id);
  // Pods that are ready and have these labels; `id` may be a prefix.
  std::vector<PodUsage> ListPods(const PodFilter& filter);

 private:
  Core& core_;
};

// Sums of all that every reading has, for a pod without a cgroup of its own. Pressure cannot be
// added up.
std::optional<Reading> SumOfReadings(const std::vector<ContainerUsage>& containers);

}  // namespace berth::runtime
