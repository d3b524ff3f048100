#include "cli/stop_plan.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace berth::cli {

namespace rt = ::runtime::v1;

namespace {

constexpr char kGraceAnnotation[] = "io.kubernetes.pod.terminationGracePeriod";
constexpr int64_t kMaxGraceSeconds = 24 * 3600;

int64_t GraceOf(const std::vector<const rt::Container*>& containers, int64_t fallback_s) {
  for (const rt::Container* container : containers) {
    auto noted = container->annotations().find(kGraceAnnotation);
    if (noted == container->annotations().end()) continue;
    auto seconds = ParseNumber<int64_t>(noted->second);
    if (seconds && *seconds >= 0) return std::min(*seconds, kMaxGraceSeconds);
  }
  return fallback_s;
}

}  // namespace

std::vector<PodStop> PlanStops(const rt::ListPodSandboxResponse& pods,
                               const rt::ListContainersResponse& containers,
                               const std::vector<std::string>& host_network,
                               int64_t default_grace_s) {
  std::map<std::string, std::vector<const rt::Container*>> running;
  for (const rt::Container& container : containers.containers()) {
    if (container.state() != rt::CONTAINER_RUNNING) continue;
    running[container.pod_sandbox_id()].push_back(&container);
  }
  std::vector<PodStop> stops;
  for (const rt::PodSandbox& pod : pods.items()) {
    if (pod.state() != rt::SANDBOX_READY) continue;
    auto& own = running[pod.id()];
    std::stable_sort(own.begin(), own.end(), [](const auto* a, const auto* b) {
      return a->created_at() > b->created_at();
    });
    PodStop stop;
    stop.id = pod.id();
    stop.name = StrCat(pod.metadata().namespace_(), "/", pod.metadata().name());
    stop.last = std::find(host_network.begin(), host_network.end(), pod.id()) != host_network.end();
    stop.grace_s = GraceOf(own, default_grace_s);
    for (const rt::Container* container : own) stop.containers.push_back(container->id());
    stops.push_back(std::move(stop));
  }
  return stops;
}

}  // namespace berth::cli
