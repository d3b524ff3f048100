// Pods of a benchmark: made and removed, several at a time, with every step timed.
#include <fcntl.h>

#include <chrono>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/sync.h"
#include "base/time.h"
#include "tests/bench/bench.h"

namespace berth::bench {
namespace {

// Calls `work` for each pod from `at_once` threads.
Status ForEachPod(const Bench& bench, std::vector<Pod>& pods, int at_once,
                  const std::function<Status(Pod&)>& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  Mutex mutex;
  Status first;
  auto worker = [&] {
    for (size_t i = next++; i < pods.size() && !stop; i = next++) {
      Status status = CheckInterrupted(bench);
      if (status.ok()) status = work(pods[i]);
      if (status.ok()) continue;
      stop = true;
      MutexLock lock(mutex);
      if (first.ok()) first = std::move(status);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < at_once; ++i) threads.emplace_back(worker);
  worker();
  for (std::thread& thread : threads) thread.join();
  return first;
}

// Runs `call` and puts its duration in `ns`.
template <typename F>
auto Timed(int64_t& ns, F call) {
  int64_t begin = MonotonicNs();
  auto result = call();
  ns = MonotonicNs() - begin;
  return result;
}

// A SIGTERM that comes before the process has its handler is lost, and the stop would then measure
// its own timeout. The process tells through its log that it is ready.
Status AwaitReady(const Pod& pod) {
  std::string log = StrCat(pod.spec.log_directory, "/", kLogName);
  for (int64_t end = MonotonicNs() + 10'000'000'000; MonotonicNs() < end; SleepMs(1)) {
    Result<std::string> text = ReadFile(log);
    if (text.ok() && text->find("ready\n") != std::string::npos) return Ok();
  }
  return Error(Code::kDeadlineExceeded, StrCat("the container's output is not in ", log));
}

}  // namespace

void SleepMs(int64_t ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}
double Ms(int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

Status CheckInterrupted(const Bench& bench) {
  if (bench.interrupted == nullptr || !*bench.interrupted) return Ok();
  return Error(Code::kCancelled, "interrupted");
}

std::string CgroupParent(const Target& target, const std::string& pod) {
  constexpr std::string_view kSlice = ".slice";
  if (!target.cgroup.ends_with(kSlice)) {
    return StrCat(target.cgroup, "/pods", pod.empty() ? "" : "/", pod);
  }
  // As kubelet does: a dash in a slice's name is a level of its own.
  std::string name = pod;
  std::replace(name.begin(), name.end(), '-', '_');
  const std::string_view stem(target.cgroup.data() + 1, target.cgroup.size() - kSlice.size() - 1);
  return StrCat(stem, "-pods", name.empty() ? "" : "-", name, kSlice);
}

Result<std::vector<Pod>> PlanPods(const Bench& bench, const Target& target, int count,
                                  bool host_network) {
  std::vector<Pod> pods(count);
  for (Pod& pod : pods) {
    pod.spec.name = StrCat("bench-", NewId().substr(0, 12));
    pod.spec.host_network = host_network;
    pod.spec.cgroup_parent = CgroupParent(target, "");
    pod.spec.log_directory = StrCat(bench.log_root, "/", pod.spec.name);
    RETURN_IF_ERROR(MakeDirs(pod.spec.log_directory, 0755));
  }
  return pods;
}

Status BringUp(const Bench& bench, Target& target, std::vector<Pod>& pods, int at_once) {
  CriClient& client = *target.client;
  return ForEachPod(bench, pods, at_once, [&](Pod& pod) -> Status {
    ASSIGN_OR_RETURN(pod.id, Timed(pod.run_pod_ns, [&] { return client.RunPodSandbox(pod.spec); }),
                     target.name);
    ASSIGN_OR_RETURN(
        pod.container_id,
        Timed(pod.create_ns, [&] { return client.CreateContainer(pod.spec, pod.id, bench.image); }),
        target.name);
    RETURN_IF_ERROR(Timed(pod.start_ns, [&] { return client.StartContainer(pod.container_id); }),
                    target.name);
    return Ok();
  });
}

Status TakeDown(const Bench& bench, Target& target, std::vector<Pod>& pods, int at_once) {
  CriClient& client = *target.client;
  return ForEachPod(bench, pods, at_once, [&](Pod& pod) -> Status {
    RETURN_IF_ERROR(AwaitReady(pod), target.name);
    RETURN_IF_ERROR(
        Timed(pod.stop_container_ns, [&] { return client.StopContainer(pod.container_id); }),
        target.name);
    RETURN_IF_ERROR(
        Timed(pod.remove_container_ns, [&] { return client.RemoveContainer(pod.container_id); }),
        target.name);
    RETURN_IF_ERROR(Timed(pod.stop_pod_ns, [&] { return client.StopPodSandbox(pod.id); }),
                    target.name);
    RETURN_IF_ERROR(Timed(pod.remove_pod_ns, [&] { return client.RemovePodSandbox(pod.id); }),
                    target.name);
    ASSIGN_OR_RETURN(UniqueFd logs, Open(bench.log_root, O_RDONLY | O_DIRECTORY));
    return RemoveTreeAt(logs.get(), pod.spec.name);
  });
}

}  // namespace berth::bench
