// Pod starts and stops, and commands in a running container.
#include <algorithm>

#include "base/time.h"
#include "tests/bench/bench.h"
#include "tests/bench/usage.h"

namespace berth::bench {
namespace {

const char* Network(bool host_network) {
  return host_network ? "host network" : "bridge network";
}

// CPU time spent between two readings.
struct CpuReading {
  int64_t machine_ns = 0;
  int64_t runtime_ns = 0;
};

Result<CpuReading> ReadCpu(const Target& target) {
  CpuReading reading;
  ASSIGN_OR_RETURN(reading.machine_ns, MachineBusyNs());
  if (!target.cgroup.empty()) {
    ASSIGN_OR_RETURN(reading.runtime_ns, CgroupCpuNs(target.cgroup));
  }
  return reading;
}

void RecordTimes(Report& report, const std::string& group, const std::string& target,
                 const std::vector<Pod>& pods) {
  struct Step {
    const char* name;
    int64_t Pod::*ns;
  };
  constexpr Step kSteps[] = {
      {"RunPodSandbox", &Pod::run_pod_ns},
      {"CreateContainer", &Pod::create_ns},
      {"StartContainer", &Pod::start_ns},
      {"StopContainer", &Pod::stop_container_ns},
      {"RemoveContainer", &Pod::remove_container_ns},
      {"StopPodSandbox", &Pod::stop_pod_ns},
      {"RemovePodSandbox", &Pod::remove_pod_ns},
  };
  for (const Pod& pod : pods) {
    report.At(group, "pod up", "ms", target).samples.Add(Ms(pod.up_ns()));
    report.At(group, "pod down", "ms", target).samples.Add(Ms(pod.down_ns()));
  }
  for (const Step& step : kSteps) {
    for (const Pod& pod : pods)
      report.At(group, step.name, "ms", target).samples.Add(Ms(pod.*step.ns));
  }
}

// `count` pods up and down, one at a time.
Status SerialBlock(Bench& bench, Target& target, const std::string& group, bool host_network,
                   int count) {
  ASSIGN_OR_RETURN(CpuReading before, ReadCpu(target));
  std::vector<Pod> done;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(auto pods, PlanPods(bench, target, 1, host_network));
    RETURN_IF_ERROR(BringUp(bench, target, pods, 1));
    RETURN_IF_ERROR(TakeDown(bench, target, pods, 1));
    done.push_back(std::move(pods[0]));
  }
  // What the runtime and the kernel do after the last answer belongs to these pods too.
  SleepMs(bench.plan.settle_ms);
  ASSIGN_OR_RETURN(CpuReading after, ReadCpu(target));
  RecordTimes(*bench.report, group, target.name, done);
  auto per_life = [&](int64_t ns) { return Ms(ns / count); };
  bench.report->At(group, "CPU of a pod's life, machine", "ms", target.name)
      .samples.Add(per_life(after.machine_ns - before.machine_ns));
  Cell& runtime = bench.report->At(group, "CPU of a pod's life, runtime", "ms", target.name);
  if (target.cgroup.empty()) {
    runtime.note = "no cgroup";
  } else {
    runtime.samples.Add(per_life(after.runtime_ns - before.runtime_ns));
  }
  return Ok();
}

Status ParallelBlock(Bench& bench, Target& target, const std::string& group, bool host_network,
                     int count) {
  ASSIGN_OR_RETURN(auto pods, PlanPods(bench, target, count, host_network));
  int64_t begin = MonotonicNs();
  RETURN_IF_ERROR(BringUp(bench, target, pods, bench.plan.at_once));
  int64_t up = MonotonicNs();
  RETURN_IF_ERROR(TakeDown(bench, target, pods, bench.plan.at_once));
  int64_t down = MonotonicNs();
  bench.report->At(group, "pods started", "per s", target.name)
      .samples.Add(count / (Ms(up - begin) / 1000));
  bench.report->At(group, "pods removed", "per s", target.name)
      .samples.Add(count / (Ms(down - up) / 1000));
  RecordTimes(*bench.report, group, target.name, pods);
  SleepMs(bench.plan.settle_ms);
  return Ok();
}

// The first pod of a runtime pays for what later ones find ready; it is not what users wait for.
Status WarmUp(Bench& bench, Target& target, bool host_network) {
  ASSIGN_OR_RETURN(auto pods, PlanPods(bench, target, 2, host_network));
  RETURN_IF_ERROR(BringUp(bench, target, pods, 1));
  return TakeDown(bench, target, pods, 1);
}

Status ExecBlock(Bench& bench, Target& target, const Pod& pod, int count) {
  Cell& cell = bench.report->At("Commands", "ExecSync of true", "ms", target.name);
  for (int i = 0; i < count; ++i) {
    RETURN_IF_ERROR(CheckInterrupted(bench));
    int64_t begin = MonotonicNs();
    RETURN_IF_ERROR(target.client->ExecSync(pod.container_id, {"/bin/true"}), target.name);
    cell.samples.Add(Ms(MonotonicNs() - begin));
  }
  return Ok();
}

}  // namespace

std::string SerialGroup(bool host_network) {
  return StrCat("Pods one at a time, ", Network(host_network));
}

Status RunPodSuite(Bench& bench) {
  const Plan& plan = bench.plan;
  for (bool host_network : {false, true}) {
    std::string serial = SerialGroup(host_network);
    std::string parallel = StrCat("Pods ", plan.at_once, " at a time, ", Network(host_network));
    for (Target& target : bench.targets) RETURN_IF_ERROR(WarmUp(bench, target, host_network));
    for (int done = 0; done < plan.serial_lives; done += plan.block) {
      int count = std::min(plan.block, plan.serial_lives - done);
      for (Target& target : bench.targets) {
        RETURN_IF_ERROR(SerialBlock(bench, target, serial, host_network, count));
      }
    }
    int block = 2 * plan.at_once;
    for (int done = 0; done < plan.parallel_lives; done += block) {
      int count = std::min(block, plan.parallel_lives - done);
      for (Target& target : bench.targets) {
        RETURN_IF_ERROR(ParallelBlock(bench, target, parallel, host_network, count));
      }
    }
  }
  return Ok();
}

Status RunExecSuite(Bench& bench) {
  std::vector<std::vector<Pod>> pods;
  for (Target& target : bench.targets) {
    ASSIGN_OR_RETURN(auto one, PlanPods(bench, target, 1, true));
    RETURN_IF_ERROR(BringUp(bench, target, one, 1));
    pods.push_back(std::move(one));
  }
  for (int done = 0; done < bench.plan.execs; done += bench.plan.block) {
    int count = std::min(bench.plan.block, bench.plan.execs - done);
    for (size_t i = 0; i < bench.targets.size(); ++i) {
      RETURN_IF_ERROR(ExecBlock(bench, bench.targets[i], pods[i][0], count));
    }
  }
  for (size_t i = 0; i < bench.targets.size(); ++i) {
    RETURN_IF_ERROR(TakeDown(bench, bench.targets[i], pods[i], 1));
  }
  return Ok();
}

}  // namespace berth::bench
