#include "runtime/container_start.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <signal.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/time.h"
#include "runtime/container_create.h"
#include "runtime/container_lifecycle.h"
#include "runtime/user_namespace.h"

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

// What the snapshotter gives to a container, detached: gone with its last descriptor.
struct Mounts {
  UniqueFd root;
  std::vector<UniqueFd> images;
};

Result<Mounts> MountAll(Core& core, const ContainerRecord& record) {
  ASSIGN_OR_RETURN(auto pod, core.FindPod(record.container.pod_id));
  const bool mapped = pod->With(
      [](const PodRecord& r) { return HasUserNamespace(r.pod.config.security.namespaces); });
  UniqueFd user_namespace;
  if (mapped) {
    ASSIGN_OR_RETURN(user_namespace,
                     Open(core.PodDir(record.container.pod_id) + "/ns/user", O_RDONLY));
  }
  snapshotter::MountOptions options;
  options.user_namespace = user_namespace.get();
  options.selinux_context = record.mount_label;
  Mounts mounts;
  ASSIGN_OR_RETURN(mounts.root, core.snapshotter.Mount(record.container.id, options),
                   "mount root file system");
  for (const auto& layers : record.volume_layers) {
    ASSIGN_OR_RETURN(auto image, core.snapshotter.MountLayers(layers, options), "mount image");
    mounts.images.push_back(std::move(image));
  }
  return mounts;
}

Result<Launched> Launch(Core& core, const Context& context, const ContainerRecord& record) {
  const std::string& id = record.container.id;
  ASSIGN_OR_RETURN(auto dir, core.OpenContainerDir(id));
  // First, since its cgroup may have to have it; it gets ready meanwhile. On failure it is killed.
  ASSIGN_OR_RETURN(auto child, core.shims->Start(dir.get()), "start shim");
  Failpoint("start_container.shim");
  RETURN_IF_ERROR(core.cgroups->Create(record.cgroup_path, record.container.resources,
                                       record.device_rules, child.pid()));
  Failpoint("start_container.cgroup");
  RETURN_IF_ERROR(CheckTarget(core, record));
  ASSIGN_OR_RETURN(auto mounts, MountAll(core, record));
  ASSIGN_OR_RETURN(auto shim, ShimClient::Connect(dir.get()));
  auto state = shim.Launch(context.Timeout(kLaunchTimeoutMs), mounts.root.get(), mounts.images);
  if (!state.ok()) {
    // One that hangs in a file system may not even end by a signal: whoever waited would, too.
    kill(-child.pid(), SIGKILL);  // its group
    core.monitor->Reap(std::move(child));
    return std::move(state).error();
  }
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
    RETURN_IF_ERROR(
        RecordStartError(core, entry, StartFailure::kStartError, launched.error().message()));
    return std::move(launched).error();
  }
  // What runs now runs, whether or not the disk takes the record: recovery asks the shim.
  Status saved = core.SaveAndTell(entry,
                                  [&](ContainerRecord& r) {
                                    r.phase = ContainerPhase::kRunning;
                                    r.init_start_time = launched->state.start_time;
                                    r.container.state = ContainerState::kRunning;
                                    r.container.pid = launched->state.pid;
                                    r.container.started_at_ns = launched->state.started_at_ns;
                                  },
                                  {EventType::kStarted});
  if (!saved.ok())
    LOG(ERROR) << "container " << record.container.id << ": " << saved.error().message();
  RETURN_IF_ERROR(core.monitor->Watch(record.container.id, std::move(launched->connection)));
  Failpoint("start_container.done");
  return Ok();
}

}  // namespace berth::runtime
