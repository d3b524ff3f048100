// berth stop-all: what the machine's shutdown does with the pods (config/berth-stop-pods.service).
#include <algorithm>
#include <iostream>
#include <thread>

#include "base/strings.h"
#include "base/sync.h"
#include "base/thread.h"
#include "base/time.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/stop_plan.h"

namespace berth::cli {
namespace {

// What a container is given even if those before it have used up its pod's grace.
constexpr int64_t kLeastGraceSeconds = 2;
// What is kept of the time for the pods that come last.
constexpr int64_t kReservedPercent = 25;

struct StopAllOptions {
  int64_t timeout_s = 120;
  int64_t grace_s = 30;
};

int64_t NowSeconds() {
  return MonotonicNs() / 1'000'000'000;
}

Result<std::vector<PodStop>> Plan(Client& client, const StopAllOptions& options) {
  ASSIGN_OR_RETURN(const auto pods, client.Call(rt::ListPodSandboxRequest()));
  ASSIGN_OR_RETURN(const auto containers, client.Call(rt::ListContainersRequest()));
  std::vector<std::string> host_network;
  for (const rt::PodSandbox& pod : pods.items()) {
    rt::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(pod.id());
    auto status = client.Call(request);
    if (!status.ok()) continue;  // removed meanwhile
    if (status->status().linux().namespaces().options().network() == rt::NODE) {
      host_network.push_back(pod.id());
    }
  }
  return PlanStops(pods, containers, host_network, options.grace_s);
}

// Its containers one after another, then the pod itself, which kills what is left.
Status StopPod(Client& client, const PodStop& pod, int64_t deadline_s) {
  const int64_t grace_ends_s = std::min(NowSeconds() + pod.grace_s, deadline_s);
  for (const std::string& id : pod.containers) {
    const int64_t now_s = NowSeconds();
    if (now_s >= deadline_s) break;
    rt::StopContainerRequest request;
    request.set_container_id(id);
    request.set_timeout(std::max(grace_ends_s - now_s, std::min(kLeastGraceSeconds, pod.grace_s)));
    RETURN_IF_ERROR(client.Call(request), "stop pod ", pod.name);
  }
  rt::StopPodSandboxRequest request;
  request.set_pod_sandbox_id(pod.id);
  RETURN_IF_ERROR(client.Call(request), "stop pod ", pod.name);
  return Ok();
}

// All at the same time. The number of those that could not be stopped; each is told.
int StopTogether(Client& client, const std::vector<const PodStop*>& pods, int64_t deadline_s) {
  Mutex mutex;
  int failed = 0;
  auto stop = [&](const PodStop* pod) {
    Status status = StopPod(client, *pod, deadline_s);
    if (status.ok()) return;
    MutexLock lock(mutex);
    ++failed;
    std::cerr << StrCat("berth: ", status.error().message(), "\n");
  };
  std::vector<std::thread> threads;
  for (const PodStop* pod : pods) {
    auto thread = StartThread([&stop, pod] { stop(pod); });
    if (thread.ok()) {
      threads.push_back(std::move(*thread));
    } else {
      stop(pod);
    }
  }
  for (std::thread& thread : threads) thread.join();
  return failed;
}

Result<int> StopAll(Client& client, const StopAllOptions& options) {
  const int64_t start_s = NowSeconds();
  ASSIGN_OR_RETURN(const std::vector<PodStop> plan, Plan(client, options));
  std::vector<const PodStop*> first, last;
  for (const PodStop& pod : plan) (pod.last ? last : first).push_back(&pod);
  const int64_t reserved_s = last.empty() ? 0 : options.timeout_s * kReservedPercent / 100;
  int failed = StopTogether(client, first, start_s + options.timeout_s - reserved_s);
  failed += StopTogether(client, last, start_s + options.timeout_s);
  RETURN_IF_ERROR(Print(
      StrCat(plan.size() - static_cast<size_t>(failed), " of ", plan.size(), " pods stopped\n")));
  return failed == 0 ? 0 : kExitFailed;
}

}  // namespace

void AddStopAllCommand(Cli& cli) {
  auto options = std::make_shared<StopAllOptions>();
  CLI::App* command = cli.AddCommand("stop-all", "Stop all pods, those of the host's network last");
  command
      ->add_option("--timeout", options->timeout_s,
                   "Seconds after which containers are killed, whatever their grace")
      ->check(CLI::Range(1, 24 * 3600))
      ->capture_default_str();
  command
      ->add_option("--grace", options->grace_s,
                   "Seconds that a pod has to end by itself, where kubelet noted none")
      ->check(CLI::Range(0, 24 * 3600))
      ->capture_default_str();
  command->callback([&cli, options] {
    cli.action = [options](Client& client) { return StopAll(client, *options); };
  });
}

}  // namespace berth::cli
