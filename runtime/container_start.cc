#include "runtime/container_start.h"

#include <glog/logging.h>

#include "base/failpoint.h"
#include "base/time.h"
#include "runtime/container_lifecycle.h"

namespace berth::runtime {

namespace {

// How long a shim may take to answer: mounting a dead network volume would hang for ever.
constexpr int64_t kLaunchTimeoutMs = 120'000;

Status CheckStartable(Core& core, const ContainerRecord& record) {
  if (record.phase != ContainerPhase::kCreated) {
    return Error(Code::kFailedPrecondition, record.phase == ContainerPhase::kRunning
                                                ? "it is running already"
                                                : "it has been started before");
  }
  ASSIGN_OR_RETURN(auto pod, core.FindPod(record.container.pod_id));
  const bool ready = pod->With([](const PodRecord& r) { return r.pod.state == PodState::kReady; });
  if (!ready) return Error(Code::kFailedPrecondition, "its pod sandbox is not ready");
  return Ok();
}

struct Launched {
  shim::wire::State state;
  UniqueFd connection;
};

Result<Launched> Launch(Core& core, const Context& context, const ContainerRecord& record) {
  const std::string& id = record.container.id;
  RETURN_IF_ERROR(
      core.cgroups->Create(record.cgroup_path, record.container.resources, record.device_rules));
  Failpoint("start_container.cgroup");
  ASSIGN_OR_RETURN(auto rootfs, core.snapshotter.Mount(id, {}), "mount root file system");
  ASSIGN_OR_RETURN(auto dir, core.OpenContainerDir(id));
  ASSIGN_OR_RETURN(auto child, core.shims->Start(dir.get()), "start shim");
  Failpoint("start_container.shim");
  ASSIGN_OR_RETURN(auto shim, ShimClient::Connect(dir.get()));
  auto state = shim.Launch(context.Timeout(kLaunchTimeoutMs), rootfs.get());
  if (!state.ok()) return std::move(state).error();  // and the child is killed and reaped
  Failpoint("start_container.launched");
  core.monitor->Reap(std::move(child));
  return Launched{*state, shim.Release()};
}

// The cgroup goes with everything in it. What cannot go now goes with RemoveContainer.
void CleanUp(Core& core, const ContainerRecord& record) {
  Status status = core.cgroups->Kill(record.cgroup_path);
  if (status.ok()) status = core.cgroups->Remove(record.cgroup_path);
  if (!status.ok())
    LOG(ERROR) << "container " << record.container.id << ": " << status.error().message();
}

}  // namespace

Status StartContainer(Core& core, const Context& context, ContainerEntry& entry) {
  ASSIGN_OR_RETURN(auto operation, entry.operation.Begin(context, "StartContainer"));
  const ContainerRecord record = entry.Get();
  RETURN_IF_ERROR(CheckStartable(core, record));
  RETURN_IF_ERROR(
      core.Save(entry, [](ContainerRecord& r) { r.phase = ContainerPhase::kStarting; }));
  Failpoint("start_container.recorded");
  auto launched = Launch(core, context, record);
  if (!launched.ok()) {
    CleanUp(core, record);
    RETURN_IF_ERROR(RecordStartError(core, entry, launched.error().message()));
    return std::move(launched).error();
  }
  // What runs now runs, whether or not the disk takes the record: recovery asks the shim.
  Status saved = core.Save(entry, [&](ContainerRecord& r) {
    r.phase = ContainerPhase::kRunning;
    r.init_start_time = launched->state.start_time;
    r.container.state = ContainerState::kRunning;
    r.container.pid = launched->state.pid;
    r.container.started_at_ns = launched->state.started_at_ns;
  });
  if (!saved.ok())
    LOG(ERROR) << "container " << record.container.id << ": " << saved.error().message();
  RETURN_IF_ERROR(core.monitor->Watch(record.container.id, std::move(launched->connection)));
  Failpoint("start_container.done");
  return Ok();
}

}  // namespace berth::runtime
