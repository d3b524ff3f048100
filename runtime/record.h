// What the runtime writes down about pods and containers. A record exists before the first effect
// outside the process and goes after the last; its phase tells recovery what to finish or to undo.
//
//   pod:        kCreating -> kReady -> kStopped -> kRemoving
//   container:  kCreating -> kCreated -> kStarting -> kRunning -> kExited -> kRemoving
//
// Any phase may go to kRemoving; kCreating goes away without a trace if it fails, kStarting goes to
// kExited if it does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup.h"
#include "runtime/oom_scores.h"
#include "runtime/types.h"

namespace berth::runtime {

enum class PodPhase { kCreating = 0, kReady = 1, kStopped = 2, kRemoving = 3 };
enum class ContainerPhase {
  kCreating = 0,
  kCreated = 1,
  kStarting = 2,
  kRunning = 3,
  kExited = 4,
  kRemoving = 5,
};

// One process for the whole uptime: a pid alone may be given away again.
struct ProcessIdentity {
  int32_t pid = 0;  // 0: none
  uint64_t start_time = 0;
};

// A change of limits that is under way: what a daemon that finds it has to put back. It is not in
// the record's resources yet.
struct ResourceUpdate {
  FormerLimits limits;
  // Processes whose score is not that of the record's resources; nothing if none is changed.
  std::optional<OomScores> scores;
};

struct PodRecord {
  Pod pod;
  PodPhase phase = PodPhase::kCreating;
  ProcessIdentity init;  // of a PID namespace that the containers share
  // There may be an address to give back: set before ADD, cleared after DEL.
  bool network = false;
  std::optional<ResourceUpdate> update;
};

struct ContainerRecord {
  Container container;
  ContainerPhase phase = ContainerPhase::kCreating;
  std::vector<std::string> layers;  // diffIDs, in use while this exists
  // Of those, each image's that is mounted as a volume, in the order of the launch plan.
  std::vector<std::vector<std::string>> volume_layers;
  std::string target_pid_ns;  // that the launch plan names; a path
  std::string mount_label;    // SELinux's, of the root file system and those; empty: none
  std::string cgroup_path;
  std::vector<DeviceRule> device_rules;
  uint64_t init_start_time = 0;
  std::optional<ResourceUpdate> update;
};

// Binary, versioned by field names: a reader ignores what it does not know and keeps the default of
// what is missing.
std::string EncodeRecord(const PodRecord& record);
std::string EncodeRecord(const ContainerRecord& record);
Result<PodRecord> DecodePodRecord(std::string_view bytes);
Result<ContainerRecord> DecodeContainerRecord(std::string_view bytes);

}  // namespace berth::runtime
