#include "runtime/resource_update.h"

#include <memory>

#include "base/file.h"
#include "base/undo.h"
#include "runtime/oci_bundle.h"
#include "runtime/oom_scores.h"
#include "runtime/pod_cgroup.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

namespace {

// What the first process starts with, if it has not started yet, and every exec after it.
Status RewritePlan(Core& core, const std::string& id, const LinuxResources& resources) {
  ASSIGN_OR_RETURN(auto dir, core.OpenContainerDir(id));
  ASSIGN_OR_RETURN(auto plan, shim::wire::ReadPlan(dir.get()));
  if (!plan.oci_runtime.path.empty()) RETURN_IF_ERROR(UpdateOciBundle(dir.get(), resources));
  plan.process.oom_score_adj = static_cast<int32_t>(resources.oom_score_adj);
  return AtomicWriteFileAt(dir.get(), shim::wire::kPlanName, shim::wire::Encode(plan), 0600);
}

// Limits and scores of what runs; each with its undo.
Status UpdateRunning(Core& core, const ContainerRecord& record, const LinuxResources& merged,
                     UndoStack& undo) {
  const std::string& cgroup = record.cgroup_path;
  ASSIGN_OR_RETURN(CgroupUndo limits, core.cgroups->Update(cgroup, merged));
  undo.Add("limits", std::move(limits));
  const int64_t former_score = record.container.resources.oom_score_adj;
  if (merged.oom_score_adj == former_score) return Ok();
  auto former = std::make_shared<OomScores>();
  // Before the first of them is set: a failure comes after some.
  undo.Add("oom_score_adj", [&core, cgroup, former, former_score] {
    return RestoreOomScores(*core.cgroups, cgroup, *former, former_score);
  });
  return SetOomScores(*core.cgroups, cgroup, merged.oom_score_adj, *former);
}

// Every effect, and the record last.
Status UpdateAll(Core& core, ContainerEntry& entry, const ContainerRecord& record,
                 const LinuxResources& merged, UndoStack& undo) {
  const LinuxResources& former = record.container.resources;
  const bool is_created = record.phase == ContainerPhase::kCreated;
  if (is_created || merged.oom_score_adj != former.oom_score_adj) {
    // It is several files.
    undo.Add("plan", [&] { return RewritePlan(core, record.container.id, former); });
    RETURN_IF_ERROR(RewritePlan(core, record.container.id, merged));
  }
  if (!is_created) RETURN_IF_ERROR(UpdateRunning(core, record, merged, undo));
  return core.SaveThenShow(entry, [&](ContainerRecord& r) { r.container.resources = merged; });
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
  if (record.phase != ContainerPhase::kCreated && record.phase != ContainerPhase::kRunning) {
    return Error(Code::kFailedPrecondition, "it has exited");
  }
  UndoStack undo;
  Status updated = UpdateAll(core, entry, record, merged, undo);
  if (!updated.ok()) return undo.Fail(std::move(updated).error());
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
  ASSIGN_OR_RETURN(CgroupUndo limits, UpdatePodCgroup(core, pod));
  UndoStack undo;
  undo.Add("limits", std::move(limits));
  Status saved = core.SaveThenShow(entry, [&](PodRecord& record) {
    record.pod.config.overhead = pod.config.overhead;
    record.pod.config.resources = pod.config.resources;
  });
  if (!saved.ok()) return undo.Fail(std::move(saved).error());
  undo.Commit();
  return Ok();
}

}  // namespace berth::runtime
