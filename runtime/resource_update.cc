#include "runtime/resource_update.h"

#include <fcntl.h>
#include <glog/logging.h>

#include "base/file.h"
#include "base/undo.h"
#include "runtime/oci_bundle.h"
#include "runtime/pod_cgroup.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

namespace {

// Sets it for one process, if that is still one of the cgroup's: by its directory's descriptor, so
// that the number cannot become another process's in between.
Status SetOomScore(int32_t pid, const std::string& cgroup_path, int64_t score) {
  auto proc = Open(StrCat("/proc/", pid), O_RDONLY | O_DIRECTORY);
  if (!proc.ok()) return Ok();  // it has gone
  auto cgroups = ReadFileAt(proc->get(), "cgroup", 64 << 10);
  if (!cgroups.ok() || cgroups->find(cgroup_path) == std::string::npos) return Ok();
  Status status = WriteFileAt(proc->get(), "oom_score_adj", StrCat(score));
  if (status.ok() || status.error().sys_errno() == ESRCH || status.code() == Code::kNotFound) {
    return Ok();
  }
  return std::move(status).error().Wrap("oom_score_adj");
}

Status SetOomScores(Core& core, const std::string& cgroup_path, int64_t score) {
  ASSIGN_OR_RETURN(auto pids, core.cgroups->Processes(cgroup_path));
  for (int32_t pid : pids) RETURN_IF_ERROR(SetOomScore(pid, cgroup_path, score));
  return Ok();
}

// What the first process starts with, if it has not started yet, and every exec after it.
Status RewritePlan(Core& core, const std::string& id, const LinuxResources& resources) {
  ASSIGN_OR_RETURN(auto dir, core.OpenContainerDir(id));
  ASSIGN_OR_RETURN(auto plan, shim::wire::ReadPlan(dir.get()));
  if (!plan.oci_runtime.path.empty()) RETURN_IF_ERROR(UpdateOciBundle(dir.get(), resources));
  plan.process.oom_score_adj = static_cast<int32_t>(resources.oom_score_adj);
  return AtomicWriteFileAt(dir.get(), shim::wire::kPlanName, shim::wire::Encode(plan), 0600);
}

// All or nothing.
Status UpdateRunning(Core& core, const ContainerRecord& record, const LinuxResources& former,
                     const LinuxResources& merged) {
  RETURN_IF_ERROR(core.cgroups->Update(record.cgroup_path, merged));
  if (merged.oom_score_adj == former.oom_score_adj) return Ok();
  Status scored = SetOomScores(core, record.cgroup_path, merged.oom_score_adj);
  if (scored.ok()) return Ok();
  Status restored = SetOomScores(core, record.cgroup_path, former.oom_score_adj);
  if (restored.ok()) restored = core.cgroups->Update(record.cgroup_path, former);
  if (!restored.ok()) {
    LOG(ERROR) << "container " << record.container.id
               << ": take back an update: " << restored.error().message();
  }
  return scored;
}

}  // namespace

LinuxResources MergeResources(const LinuxResources& old, const LinuxResources& change) {
  LinuxResources merged = old;
  if (change.cpu_period_us != 0) merged.cpu_period_us = change.cpu_period_us;
  if (change.cpu_quota_us != 0) merged.cpu_quota_us = change.cpu_quota_us;
  if (change.cpu_shares != 0) merged.cpu_shares = change.cpu_shares;
  if (change.memory_limit_bytes != 0) merged.memory_limit_bytes = change.memory_limit_bytes;
  if (change.memory_swap_limit_bytes != 0)
    merged.memory_swap_limit_bytes = change.memory_swap_limit_bytes;
  if (change.oom_score_adj != 0) merged.oom_score_adj = change.oom_score_adj;
  if (!change.cpuset_cpus.empty()) merged.cpuset_cpus = change.cpuset_cpus;
  if (!change.cpuset_mems.empty()) merged.cpuset_mems = change.cpuset_mems;
  if (!change.hugepage_limits.empty()) merged.hugepage_limits = change.hugepage_limits;
  for (const auto& [key, value] : change.unified) merged.unified[key] = value;
  return merged;
}

Status UpdateContainerResources(Core& core, const Context& context, ContainerEntry& entry,
                                const LinuxResources& change) {
  RETURN_IF_ERROR(CheckResources(change));
  RETURN_IF_ERROR(core.cgroups->CheckSupported(change));
  ASSIGN_OR_RETURN(auto operation, entry.operation.Begin(context, "UpdateContainerResources"));
  const ContainerRecord record = entry.Get();
  const LinuxResources merged = MergeResources(record.container.resources, change);
  RETURN_IF_ERROR(CheckResources(merged));
  const LinuxResources& former = record.container.resources;
  const bool is_created = record.phase == ContainerPhase::kCreated;
  if (!is_created && record.phase != ContainerPhase::kRunning) {
    return Error(Code::kFailedPrecondition, "it has exited");
  }
  UndoStack undo;
  if (is_created || merged.oom_score_adj != former.oom_score_adj) {
    RETURN_IF_ERROR(RewritePlan(core, record.container.id, merged));
    undo.Add("plan", [&] { return RewritePlan(core, record.container.id, former); });
  }
  if (!is_created) {
    RETURN_IF_ERROR(UpdateRunning(core, record, former, merged));
    undo.Add("limits", [&] { return UpdateRunning(core, record, merged, former); });
  }
  RETURN_IF_ERROR(core.Save(entry, [&](ContainerRecord& r) { r.container.resources = merged; }));
  undo.Commit();
  return Ok();
}

Status UpdatePodResources(Core& core, const Context& context, PodEntry& entry,
                          const std::optional<LinuxResources>& overhead,
                          const std::optional<LinuxResources>& resources) {
  for (const auto& [field, change] :
       {std::pair("overhead", &overhead), {"resources", &resources}}) {
    if (!*change) continue;
    RETURN_IF_ERROR(CheckResources(**change), field);
    RETURN_IF_ERROR(core.cgroups->CheckSupported(**change), field);
  }
  ASSIGN_OR_RETURN(auto operation, entry.operation.Begin(context, "UpdatePodSandboxResources"));
  Pod pod = entry.With([](const PodRecord& record) { return record.pod; });
  if (pod.state != PodState::kReady) {
    return Error(Code::kFailedPrecondition, StrCat("pod sandbox ", pod.id, " is not ready"));
  }
  auto merge = [](std::optional<LinuxResources>& old, const std::optional<LinuxResources>& change) {
    if (change) old = MergeResources(old.value_or(LinuxResources{}), *change);
  };
  merge(pod.config.overhead, overhead);
  merge(pod.config.resources, resources);
  RETURN_IF_ERROR(UpdatePodCgroup(core, pod));
  return core.Save(entry, [&](PodRecord& record) {
    record.pod.config.overhead = pod.config.overhead;
    record.pod.config.resources = pod.config.resources;
  });
}

}  // namespace berth::runtime
