// Large images, pulled and removed in turn.
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/time.h"
#include "tests/bench/bench.h"
#include "tests/bench/usage.h"

namespace berth::bench {
namespace {

// The most that a process has had in memory, looked at again and again while this lives.
class PeakPss {
 public:
  explicit PeakPss(pid_t pid) : pid_(pid), thread_([this] { Run(); }) {}
  ~PeakPss() { (void)Stop(); }
  PeakPss(const PeakPss&) = delete;
  PeakPss& operator=(const PeakPss&) = delete;

  int64_t Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return peak_;
  }

 private:
  void Run() {
    constexpr int64_t kEveryMs = 20;
    while (!stop_) {
      auto pss = PssBytes(pid_);
      if (pss.ok()) peak_ = std::max(peak_, *pss);
      SleepMs(kEveryMs);
    }
  }

  const pid_t pid_;
  int64_t peak_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Until the runtime has used next to no CPU for a while: a runtime that deletes files after it has
// answered must not do so on the next one's time.
Status AwaitQuiet(const Bench& bench, const Target& target) {
  constexpr int kMaxWaits = 100;
  constexpr int64_t kQuietNs = 5'000'000;
  for (int i = 0; i < kMaxWaits && !target.cgroup.empty(); ++i) {
    ASSIGN_OR_RETURN(int64_t before, CgroupCpuNs(target.cgroup));
    SleepMs(bench.plan.settle_ms);
    ASSIGN_OR_RETURN(int64_t after, CgroupCpuNs(target.cgroup));
    if (after - before < kQuietNs) break;
  }
  return Ok();
}

Status PullOnce(Bench& bench, const PullCase& pull, Target& target) {
  RETURN_IF_ERROR(CheckInterrupted(bench));
  // An image that an earlier run has left would make this a look-up.
  RETURN_IF_ERROR(target.client->RemoveImage(pull.image), target.name);
  RETURN_IF_ERROR(AwaitQuiet(bench, target));
  // Another round's dirty pages must not be written back on this one's time.
  sync();
  int64_t runtime_before = 0;
  int64_t registry_before = 0;
  if (!target.cgroup.empty()) {
    ASSIGN_OR_RETURN(runtime_before, CgroupCpuNs(target.cgroup));
  }
  if (!bench.registry_cgroup.empty()) {
    ASSIGN_OR_RETURN(registry_before, CgroupCpuNs(bench.registry_cgroup));
  }
  ASSIGN_OR_RETURN(int64_t machine_before, MachineBusyNs());
  ASSIGN_OR_RETURN(int64_t pss_before, PssBytes(target.daemon_pid), target.name);
  PeakPss pss(target.daemon_pid);
  int64_t begin = MonotonicNs();
  ASSIGN_OR_RETURN(std::string reference, target.client->PullImage(pull.image), target.name);
  int64_t end = MonotonicNs();
  const int64_t pss_growth = std::max<int64_t>(0, pss.Stop() - pss_before);

  auto add = [&](const char* name, int64_t ns) {
    bench.report->At(pull.group, name, "s", target.name).samples.Add(Ms(ns) / 1000);
  };
  add("wall", end - begin);
  bench.report->At(pull.group, "daemon's PSS, growth", "MB", target.name)
      .samples.Add(static_cast<double>(pss_growth) / 1e6);
  if (!target.cgroup.empty()) {
    ASSIGN_OR_RETURN(int64_t after, CgroupCpuNs(target.cgroup));
    add("CPU, runtime", after - runtime_before);
  }
  if (!bench.registry_cgroup.empty()) {
    ASSIGN_OR_RETURN(int64_t after, CgroupCpuNs(bench.registry_cgroup));
    add("CPU, registry", after - registry_before);
  }
  ASSIGN_OR_RETURN(int64_t machine_after, MachineBusyNs());
  add("CPU, machine", machine_after - machine_before);
  int64_t remove_begin = MonotonicNs();
  RETURN_IF_ERROR(target.client->RemoveImage(pull.image), target.name);
  add("RemoveImage", MonotonicNs() - remove_begin);
  return AwaitQuiet(bench, target);
}

}  // namespace

Status RunPullSuite(Bench& bench) {
  for (const PullCase& pull : bench.pulls) {
    for (int round = 0; round < bench.plan.pulls; ++round) {
      for (Target& target : bench.targets) RETURN_IF_ERROR(PullOnce(bench, pull, target));
    }
    for (const Target& target : bench.targets) {
      if (pull.floor_s <= 0) continue;
      bench.report->At(pull.group, "wall, multiples of the floor", "", target.name)
          .samples.Add(bench.report->P50(pull.group, "wall", target.name) / pull.floor_s);
    }
  }
  return Ok();
}

}  // namespace berth::bench
