// In which order `berth stop-all` stops what runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cri/proto/api.pb.h"

namespace berth::cli {

struct PodStop {
  std::string id;
  std::string name;  // "namespace/name", for messages
  // Network agents, proxies, the control plane: the others may need them to the end.
  bool last = false;
  int64_t grace_s = 0;  // for all of its containers together
  // Ids, the last one made first: what was there before an application, as sidecars are, serves it
  // until it has ended.
  std::vector<std::string> containers;
};

// The ready pods. Those of the host's network, whose ids are in `host_network`, are last. The grace
// is what kubelet noted at the containers (annotation io.kubernetes.pod.terminationGracePeriod), or
// `default_grace_s`.
std::vector<PodStop> PlanStops(const ::runtime::v1::ListPodSandboxResponse& pods,
                               const ::runtime::v1::ListContainersResponse& containers,
                               const std::vector<std::string>& host_network,
                               int64_t default_grace_s);

}  // namespace berth::cli
