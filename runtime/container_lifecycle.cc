#include "runtime/container_lifecycle.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <signal.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/process.h"
#include "base/time.h"

namespace berth::runtime {

namespace {

// What SIGKILL may take before the answer says that the process hangs in the kernel.
constexpr int64_t kKillWaitMs = 15'000;
constexpr int32_t kStartErrorCode = 128;  // as kubelet knows it from containerd
constexpr int32_t kKilledCode = 128 + SIGKILL;

bool IsRunning(ContainerEntry& entry) {
  return entry.With([](const ContainerRecord& r) { return r.phase == ContainerPhase::kRunning; });
}

bool WaitForExit(const Context& context, ContainerEntry& entry) {
  return entry.WaitUntil(context, [](const ContainerRecord& record) {
    return record.phase != ContainerPhase::kRunning;
  });
}

Status SendSignal(Core& core, const Context& context, const std::string& id, int number) {
  ASSIGN_OR_RETURN(auto shim, core.ConnectShim(id));
  return shim.Signal(context.Timeout(5'000), number);
}

bool UsesRemovedImage(Core& core, const ContainerRecord& record) {
  if (!core.images.Find(record.container.image_id)) return true;
  for (const Mount& mount : record.container.config.mounts) {
    if (mount.image && !core.images.Find(mount.image->image_ref)) return true;
  }
  return false;
}

}  // namespace

Status StopContainer(Core& core, const Context& context, ContainerEntry& entry, int64_t timeout_s) {
  const ContainerRecord record = entry.Get();
  const std::string& id = record.container.id;
  {
    // A start that is under way ends first; the wait for the exit then holds nobody up.
    ASSIGN_OR_RETURN(auto operation, entry.operation.Begin(context, "StopContainer"),
                     "stop container ", id);
    if (!IsRunning(entry)) return Ok();
  }
  if (timeout_s > 0) {
    Status sent = SendSignal(core, context, id, record.container.stop_signal);
    if (!sent.ok()) LOG(WARNING) << "container " << id << ": " << sent.error().message();
    if (WaitForExit(context.Timeout(timeout_s * 1000), entry)) return Ok();
    RETURN_IF_ERROR(context.Check("stop"), "container ", id);
  }
  Status killed = SendSignal(core, context, id, SIGKILL);
  // Without its shim the container is killed by its cgroup.
  if (!killed.ok()) killed = core.cgroups->Kill(record.cgroup_path);
  if (!killed.ok()) LOG(WARNING) << "container " << id << ": " << killed.error().message();
  if (WaitForExit(context.Timeout(kKillWaitMs), entry)) return Ok();
  return Error(Code::kDeadlineExceeded,
               StrCat("stop container ", id, ": process ", record.container.pid,
                      " has not ended after SIGKILL; it hangs in a system call (see /proc/",
                      record.container.pid, "/stack)"));
}

Status RemoveContainerFiles(Core& core, const ContainerRecord& record) {
  const std::string& id = record.container.id;
  if (!record.cgroup_path.empty()) {
    RETURN_IF_ERROR(core.cgroups->Remove(record.cgroup_path), "remove cgroup");
  }
  RETURN_IF_ERROR(core.snapshotter.RemoveSnapshot(id), "remove snapshot");
  ASSIGN_OR_RETURN(auto containers,
                   Open(core.config.state + "/containers", O_RDONLY | O_DIRECTORY));
  return RemoveTreeAt(containers.get(), id);
}

Status RemoveContainer(Core& core, const Context& context, ContainerEntry& entry) {
  const std::string id =
      entry.With([](const ContainerRecord& record) { return record.container.id; });
  // What it makes after the removal would be found by nobody.
  RETURN_IF_ERROR(entry.creation.AwaitEnd(context), "remove container ", id);
  RETURN_IF_ERROR(StopContainer(core, context, entry, /*timeout_s=*/0));
  ASSIGN_OR_RETURN(auto operation, entry.operation.Begin(context, "RemoveContainer"),
                   "remove container ", id);
  if (!core.index.containers.Find(id)) return Ok();  // somebody else has just removed it
  if (IsRunning(entry)) {
    return Error(Code::kFailedPrecondition,
                 StrCat("remove container ", id, ": it was started meanwhile"));
  }
  RETURN_IF_ERROR(
      core.Save(entry, [](ContainerRecord& record) { record.phase = ContainerPhase::kRemoving; }));
  Failpoint("remove_container.recorded");
  RETURN_IF_ERROR(RemoveContainerFiles(core, entry.Get()), "remove container ", id);
  RETURN_IF_ERROR(core.store->RemoveContainer(id));
  core.index.containers.Remove(id);
  const ContainerRecord record = entry.Get();
  core.Tell(record, {EventType::kDeleted});
  // It may have been the last that used the layers of an image that was removed before.
  if (UsesRemovedImage(core, record)) {
    RETURN_IF_ERROR(core.images.CollectLayers(), "collect layers");
  }
  return Ok();
}

Status StopContainersOf(Core& core, const Context& context, const std::string& pod_id) {
  for (const auto& entry : core.index.ContainersOf(pod_id)) {
    RETURN_IF_ERROR(StopContainer(core, context, *entry, /*timeout_s=*/0));
  }
  return Ok();
}

Status RemoveContainersOf(Core& core, const Context& context, const std::string& pod_id) {
  for (const auto& entry : core.index.ContainersOf(pod_id)) {
    RETURN_IF_ERROR(RemoveContainer(core, context, *entry));
  }
  return Ok();
}

Status RecordExit(Core& core, ContainerEntry& entry,
                  const std::optional<shim::wire::ExitStatus>& exit) {
  const auto [id, cgroup] =
      entry.With([](const ContainerRecord& r) { return std::pair(r.container.id, r.cgroup_path); });
  if (!exit) RETURN_IF_ERROR(core.cgroups->Kill(cgroup), "kill what the shim left");
  auto exited = [&](ContainerRecord& record) {
    Container& container = record.container;
    record.phase = std::max(record.phase, ContainerPhase::kExited);
    container.state = ContainerState::kExited;
    container.pid = 0;
    container.exit_code = exit ? exit->exit_code : kKilledCode;
    container.finished_at_ns = exit ? exit->finished_at_ns : WallNs();
    container.reason = container.exit_code == 0 ? "Completed" : "Error";
    if (exit && exit->oom_killed) container.reason = "OOMKilled";
    if (!exit)
      container.message = "the container's shim ended without a word; the container was killed";
  };
  Status saved = core.SaveAndTell(entry, exited, {EventType::kStopped});
  core.meters->Forget(id);
  RETURN_IF_ERROR(saved);
  // Its counters are no longer needed. Should it be busy, RemoveContainer tries again.
  Status removed = core.cgroups->Remove(cgroup);
  if (!removed.ok()) LOG(WARNING) << "cgroup " << cgroup << ": " << removed.error().message();
  return Ok();
}

Status RecordStartError(Core& core, ContainerEntry& entry, StartFailure failure,
                        const std::string& message) {
  auto failed = [&](ContainerRecord& record) {
    Container& container = record.container;
    record.phase = ContainerPhase::kExited;
    container.state = ContainerState::kExited;
    container.exit_code = kStartErrorCode;
    container.started_at_ns = container.finished_at_ns = WallNs();
    container.reason = failure == StartFailure::kStartError ? "StartError" : "ContainerCannotRun";
    container.message = message;
  };
  return core.SaveAndTell(entry, failed, {EventType::kStopped});
}

}  // namespace berth::runtime
