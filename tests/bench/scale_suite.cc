// Memory with idle pods, and lists of many.
#include "base/time.h"
#include "tests/bench/bench.h"
#include "tests/bench/usage.h"

namespace berth::bench {
namespace {

double Mb(int64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

Status MeasureMemory(Bench& bench, Target& target, const std::set<pid_t>& before) {
  const int pods = bench.plan.idle_pods;
  SleepMs(bench.plan.memory_settle_ms);
  ASSIGN_OR_RETURN(int64_t daemon, PssBytes(target.daemon_pid), target.name);
  ASSIGN_OR_RETURN(std::set<pid_t> helpers, HelpersSince(before));
  ASSIGN_OR_RETURN(int64_t helper_pss, PssBytes(helpers));
  const char* group = "Memory (PSS)";
  auto add = [&](const std::string& name, const char* unit, double value) {
    bench.report->At(group, name, unit, target.name).samples.Add(value);
  };
  add("daemon, just started", "MB", Mb(target.idle_pss));
  add(StrCat("daemon, ", pods, " pods"), "MB", Mb(daemon));
  add("helper processes, per pod", "MB", Mb(helper_pss) / pods);
  add("helpers and daemon's growth, per pod", "MB",
      Mb(helper_pss + daemon - target.idle_pss) / pods);
  add("number of helper processes, per pod", "", static_cast<double>(helpers.size()) / pods);
  return Ok();
}

using List = Result<int> (CriClient::*)();

// Times one of the list calls, and checks that it shows the pods that are there.
Status MeasureList(Bench& bench, Target& target, const char* name, List list) {
  const int pods = bench.plan.many_pods;
  Cell& cell = bench.report->At(StrCat("Lists with ", pods, " pods"), name, "ms", target.name);
  for (int i = 0; i < bench.plan.lists; ++i) {
    RETURN_IF_ERROR(CheckInterrupted(bench));
    int64_t begin = MonotonicNs();
    Result<int> count = (target.client.get()->*list)();
    int64_t end = MonotonicNs();
    if (count.code() == Code::kUnimplemented) {
      cell.note = "unimplemented";
      return Ok();
    }
    if (!count.ok()) return std::move(count).error().Wrap(target.name);
    if (*count < pods) {
      return Error(Code::kInternal,
                   StrCat(target.name, ": ", name, " shows ", *count, " of ", pods));
    }
    cell.samples.Add(Ms(end - begin));
  }
  return Ok();
}

// What the daemon costs a node whose pods somebody looks at from time to time.
Status MeasurePolling(Bench& bench, Target& target, const std::string& what,
                      const std::vector<List>& lists) {
  const Plan& plan = bench.plan;
  Cell& cell =
      bench.report->At(StrCat("Lists with ", plan.many_pods, " pods"),
                       StrCat("daemon's CPU, ", what, " every ", plan.poll_ms / 1000, " s"),
                       "% of a core", target.name);
  for (int i = 0; i < plan.polls; ++i) {
    RETURN_IF_ERROR(CheckInterrupted(bench));
    const int64_t begin = MonotonicNs();
    ASSIGN_OR_RETURN(int64_t before, ProcessCpuNs(target.daemon_pid), target.name);
    for (auto list : lists) {
      Result<int> count = (target.client.get()->*list)();
      if (!count.ok() && count.code() != Code::kUnimplemented) {
        return std::move(count).error().Wrap(target.name);
      }
    }
    SleepMs(plan.poll_ms - (MonotonicNs() - begin) / 1'000'000);
    ASSIGN_OR_RETURN(int64_t after, ProcessCpuNs(target.daemon_pid), target.name);
    cell.samples.Add(100.0 * static_cast<double>(after - before) /
                     static_cast<double>(MonotonicNs() - begin));
  }
  return Ok();
}

// With a cgroup for each, as kubelet makes them: statistics of pods are read from these.
Result<std::vector<Pod>> PlanPodsWithCgroups(const Bench& bench, const Target& target, int count) {
  ASSIGN_OR_RETURN(auto pods, PlanPods(bench, target, count, /*host_network=*/false));
  for (Pod& pod : pods) pod.spec.cgroup_parent = CgroupParent(target, pod.spec.name);
  return pods;
}

Status MeasureTarget(Bench& bench, Target& target) {
  const Plan& plan = bench.plan;
  ASSIGN_OR_RETURN(std::set<pid_t> before, Processes());
  ASSIGN_OR_RETURN(auto idle, PlanPodsWithCgroups(bench, target, plan.idle_pods));
  RETURN_IF_ERROR(BringUp(bench, target, idle, plan.at_once));
  RETURN_IF_ERROR(MeasureMemory(bench, target, before));
  ASSIGN_OR_RETURN(auto more, PlanPodsWithCgroups(bench, target, plan.many_pods - plan.idle_pods));
  RETURN_IF_ERROR(BringUp(bench, target, more, plan.at_once));
  SleepMs(plan.settle_ms);
  RETURN_IF_ERROR(MeasureList(bench, target, "ListPodSandbox", &CriClient::ListPodSandbox));
  RETURN_IF_ERROR(MeasureList(bench, target, "ListContainers", &CriClient::ListContainers));
  RETURN_IF_ERROR(MeasureList(bench, target, "ListContainerStats", &CriClient::ListContainerStats));
  RETURN_IF_ERROR(
      MeasureList(bench, target, "ListPodSandboxStats", &CriClient::ListPodSandboxStats));
  RETURN_IF_ERROR(
      MeasureList(bench, target, "ListPodSandboxMetrics", &CriClient::ListPodSandboxMetrics));
  RETURN_IF_ERROR(MeasurePolling(bench, target, "statistics", {&CriClient::ListPodSandboxStats}));
  RETURN_IF_ERROR(MeasurePolling(
      bench, target, "all",
      {&CriClient::ListPodSandbox, &CriClient::ListContainers, &CriClient::ListContainerStats,
       &CriClient::ListPodSandboxStats, &CriClient::ListPodSandboxMetrics}));
  RETURN_IF_ERROR(TakeDown(bench, target, more, plan.at_once));
  return TakeDown(bench, target, idle, plan.at_once);
}

}  // namespace

Status RunScaleSuite(Bench& bench) {
  for (Target& target : bench.targets) RETURN_IF_ERROR(MeasureTarget(bench, target));
  return Ok();
}

}  // namespace berth::bench
