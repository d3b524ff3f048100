#include "runtime/resource_update.h"

#include <memory>

#include "base/failpoint.h"
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

// What a change has to put back that does not come to its end.
Result<ResourceUpdate> LookBefore(Core& core, const ContainerRecord& record,
                                  const LinuxResources& merged) {
  ResourceUpdate update;
  if (record.phase == ContainerPhase::kCreated) return update;  // nothing runs
  ASSIGN_OR_RETURN(update.limits, core.cgroups->LimitsBefore(record.cgroup_path, merged));
  const int64_t score = record.container.resources.oom_score_adj;
  if (merged.oom_score_adj != score) {
    ASSIGN_OR_RETURN(update.scores, OtherOomScores(*core.cgroups, record.cgroup_path, score));
  }
  return update;
}

// Limits and scores of what runs; each with its undo.
Status UpdateRunning(Core& core, const ContainerRecord& record, const LinuxResources& merged,
                     const ResourceUpdate& before, UndoStack& undo) {
  const std::string& cgroup = record.cgroup_path;
  RETURN_IF_ERROR(core.cgroups->Update(cgroup, merged));
  undo.Add("limits",
           [&core, &cgroup, &before] { return core.cgroups->Restore(cgroup, before.limits); });
  Failpoint("update_container.limits");
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
                 const LinuxResources& merged, const ResourceUpdate& before, UndoStack& undo) {
  const LinuxResources& former = record.container.resources;
  const bool is_created = record.phase == ContainerPhase::kCreated;
  if (is_created || before.scores) {
    // It is several files.
    undo.Add("plan", [&] { return RewritePlan(core, record.container.id, former); });
    RETURN_IF_ERROR(RewritePlan(core, record.container.id, merged));
  }
  if (!is_created) RETURN_IF_ERROR(UpdateRunning(core, record, merged, before, undo));
  Failpoint("update_container.done");
  return core.SaveThenShow(entry, [&](ContainerRecord& r) {
    r.container.resources = merged;
    r.update.reset();
  });
}

template <typename EntryType>
Status ForgetUpdate(Core& core, EntryType& entry) {
  return core.SaveThenShow(entry, [](auto& record) { record.update.reset(); });
}

// What could not be put back the next daemon tries again: the record keeps it.
template <typename EntryType>
Error Fail(Core& core, EntryType& entry, UndoStack& undo, Error why) {
  Status undone = undo.Run();
  if (undone.ok()) undone = ForgetUpdate(core, entry);
  return undone.ok() ? why : std::move(why).Append("; and ", undone.error().message());
}

// With what it belongs to it has gone, too.
Status UnlessGone(Status status) {
  return status.code() == Code::kNotFound ? Ok() : std::move(status);
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
  ASSIGN_OR_RETURN(const ResourceUpdate before, LookBefore(core, record, merged));
  RETURN_IF_ERROR(core.SaveThenShow(entry, [&](ContainerRecord& r) { r.update = before; }));
  Failpoint("update_container.recorded");
  UndoStack undo;
  Status updated = UpdateAll(core, entry, record, merged, before, undo);
  if (!updated.ok()) return Fail(core, entry, undo, std::move(updated).error());
  undo.Commit();
  return Ok();
}

Status TakeBackUpdate(Core& core, ContainerEntry& entry) {
  const ContainerRecord record = entry.Get();
  if (!record.update) return Ok();
  const LinuxResources& former = record.container.resources;
  const bool is_created = record.phase == ContainerPhase::kCreated;
  const bool may_run = record.phase == ContainerPhase::kRunning;
  UndoStack undo;
  if (is_created || (may_run && record.update->scores)) {
    undo.Add("plan", [&] { return UnlessGone(RewritePlan(core, record.container.id, former)); });
  }
  if (may_run) {
    undo.Add("limits", [&] {
      return UnlessGone(core.cgroups->Restore(record.cgroup_path, record.update->limits));
    });
  }
  if (may_run && record.update->scores) {
    undo.Add("oom_score_adj", [&] {
      return RestoreOomScores(*core.cgroups, record.cgroup_path, *record.update->scores,
                              former.oom_score_adj);
    });
  }
  RETURN_IF_ERROR(undo.Run());
  return ForgetUpdate(core, entry);
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
  ASSIGN_OR_RETURN(const FormerLimits before, PodLimitsBefore(core, pod));
  RETURN_IF_ERROR(core.SaveThenShow(entry, [&](PodRecord& record) {
    record.update = ResourceUpdate{before, std::nullopt};
  }));
  Failpoint("update_pod.recorded");
  UndoStack undo;
  Status updated = UpdatePodCgroup(core, pod);
  if (!updated.ok()) return Fail(core, entry, undo, std::move(updated).error());
  undo.Add("limits", [&] { return RestorePodCgroup(core, pod, before); });
  Failpoint("update_pod.limits");
  Status saved = core.SaveThenShow(entry, [&](PodRecord& record) {
    record.pod.config.overhead = pod.config.overhead;
    record.pod.config.resources = pod.config.resources;
    record.update.reset();
  });
  if (!saved.ok()) return Fail(core, entry, undo, std::move(saved).error());
  undo.Commit();
  return Ok();
}

Status TakeBackUpdate(Core& core, PodEntry& entry) {
  const PodRecord record = entry.Get();
  if (!record.update) return Ok();
  RETURN_IF_ERROR(UnlessGone(RestorePodCgroup(core, record.pod, record.update->limits)));
  return ForgetUpdate(core, entry);
}

}  // namespace berth::runtime
