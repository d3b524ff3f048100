#include "runtime/pod_snapshot.h"

#include "base/time.h"

namespace berth::runtime {

namespace {

// A pod whose containers change faster than they can be read is not one moment's any more.
constexpr int kMaxAttempts = 16;

using Containers = std::vector<std::shared_ptr<ContainerEntry>>;

Containers VisibleContainersOf(Index& index, const std::string& pod_id) {
  Containers mine = index.ContainersOf(pod_id);
  std::erase_if(mine, [](const auto& entry) {
    return entry->With(
        [](const ContainerRecord& record) { return record.phase == ContainerPhase::kCreating; });
  });
  return mine;
}

}  // namespace

PodSnapshot TakePodSnapshot(Index& index, PodEntry& pod) {
  PodSnapshot snapshot;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    // Everything twice: what has not changed from the first reading of the whole to the second has
    // been so in between.
    const uint64_t pod_version = pod.version();
    snapshot.pod = pod.With([](const PodRecord& record) { return record.pod; });
    snapshot.containers.clear();
    const Containers containers = VisibleContainersOf(index, snapshot.pod.id);
    std::vector<uint64_t> versions;
    for (const auto& entry : containers) {
      versions.push_back(entry->version());
      snapshot.containers.push_back(
          entry->With([](const ContainerRecord& record) { return record.container; }));
    }
    snapshot.timestamp_ns = WallNs();
    bool same =
        pod.version() == pod_version && VisibleContainersOf(index, snapshot.pod.id) == containers;
    for (size_t i = 0; same && i < containers.size(); ++i) {
      same = containers[i]->version() == versions[i];
    }
    if (same) break;
  }
  return snapshot;
}

}  // namespace berth::runtime
