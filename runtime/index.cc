#include "runtime/index.h"

#include <algorithm>

namespace berth::runtime {

// NUL separates the parts: it cannot be in a name that was validated.
std::vector<std::shared_ptr<ContainerEntry>> Index::ContainersOf(const std::string& pod_id) {
  auto mine = containers.All();
  std::erase_if(mine, [&](const auto& entry) {
    return entry->With(
        [&](const ContainerRecord& record) { return record.container.pod_id != pod_id; });
  });
  return mine;
}

std::string PodKey(const PodMetadata& metadata) {
  return StrCat(metadata.namespace_, '\0', metadata.name, '\0', metadata.uid, '\0',
                metadata.attempt);
}

std::string ContainerKey(const std::string& pod_id, const ContainerMetadata& metadata) {
  return StrCat(pod_id, '\0', metadata.name, '\0', metadata.attempt);
}

bool LabelsMatch(const StringMap& labels, const StringMap& selector) {
  return std::all_of(selector.begin(), selector.end(), [&](const auto& wanted) {
    auto it = labels.find(wanted.first);
    return it != labels.end() && it->second == wanted.second;
  });
}

}  // namespace berth::runtime
