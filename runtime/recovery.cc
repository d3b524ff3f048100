#include "runtime/recovery.h"

#include <fcntl.h>
#include <glog/logging.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/process.h"
#include "runtime/container_lifecycle.h"
#include "runtime/netns.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_files.h"
#include "runtime/pod_lifecycle.h"
#include "runtime/resource_update.h"

namespace berth::runtime {

namespace {

namespace wire = shim::wire;

constexpr int64_t kShimTimeoutMs = 10'000;

void LogFailure(std::string_view kind, const std::string& id, const Status& status) {
  if (!status.ok())
    LOG(ERROR) << "recover " << kind << " " << id << ": " << status.error().message();
}

// ---- containers

std::optional<wire::ExitStatus> ReadExitRecord(const Core& core, const std::string& id) {
  auto dir = core.OpenContainerDir(id);
  if (!dir.ok()) return std::nullopt;
  auto bytes = ReadFileAt(dir->get(), wire::kExitName, 4096);
  if (!bytes.ok()) return std::nullopt;
  auto exit = wire::Decode<wire::ExitStatus>(*bytes);
  if (!exit.ok()) return std::nullopt;
  return *exit;
}

// Marks it running with what its shim says. A pid of 0: the shim was never told to launch.
Status Adopt(Core& core, ContainerEntry& entry, const std::string& id, ShimClient shim) {
  ASSIGN_OR_RETURN(auto state, shim.Watch(Context::WithTimeoutMs(kShimTimeoutMs)));
  if (state.pid == 0) return Error(Code::kNotFound, "the container was never launched");
  RETURN_IF_ERROR(core.Save(entry, [&](ContainerRecord& record) {
    record.phase = ContainerPhase::kRunning;
    record.init_start_time = state.start_time;
    record.container.state = ContainerState::kRunning;
    record.container.pid = state.pid;
    record.container.started_at_ns = state.started_at_ns;
  }));
  if (!state.exited) return core.monitor->Watch(id, shim.Release());
  RETURN_IF_ERROR(RecordExit(core, entry, state.exit));
  return shim.Acknowledge();
}

Status RecoverStarted(Core& core, ContainerEntry& entry, const ContainerRecord& record) {
  const std::string& id = record.container.id;
  auto shim = core.ConnectShim(id);
  if (shim.ok()) {
    Status adopted = Adopt(core, entry, id, std::move(*shim));
    if (adopted.ok()) return Ok();
    LOG(WARNING) << "container " << id << ": its shim: " << adopted.error().message();
  }
  auto exit = ReadExitRecord(core, id);
  if (record.phase == ContainerPhase::kRunning || exit) return RecordExit(core, entry, exit);
  RETURN_IF_ERROR(core.cgroups->Kill(record.cgroup_path));
  RETURN_IF_ERROR(core.cgroups->Remove(record.cgroup_path));
  return RecordStartError(core, entry, StartFailure::kContainerCannotRun,
                          "berthd was stopped while it started the container");
}

Status RemoveRecovered(Core& core, const ContainerRecord& record) {
  const std::string& id = record.container.id;
  RETURN_IF_ERROR(core.cgroups->Kill(record.cgroup_path));
  RETURN_IF_ERROR(RemoveContainerFiles(core, record));
  RETURN_IF_ERROR(core.store->RemoveContainer(id));
  core.index.containers.Remove(id);
  return Ok();
}

Status RecoverContainer(Core& core, ContainerEntry& entry) {
  const ContainerRecord record = entry.Get();
  switch (record.phase) {
    case ContainerPhase::kCreating:
    case ContainerPhase::kRemoving:
      return RemoveRecovered(core, record);
    case ContainerPhase::kCreated:
      // Its plan is in the state directory, which a reboot has emptied.
      if (core.OpenContainerDir(record.container.id).ok()) return Ok();
      return RecordStartError(core, entry, StartFailure::kContainerCannotRun,
                              "the node was restarted before the container was started");
    case ContainerPhase::kStarting:
    case ContainerPhase::kRunning:
      return RecoverStarted(core, entry, record);
    case ContainerPhase::kExited:
      return Ok();
  }
  return Ok();
}

// ---- pods

Status RemoveRecovered(Core& core, PodEntry& entry, const std::string& id) {
  const Context context = Context::ForUndo(60'000);
  RETURN_IF_ERROR(RemoveContainersOf(core, context, id));
  RETURN_IF_ERROR(TearDownPod(core, context, entry));
  return ForgetPod(core, id);
}

// The files that pin its namespaces are mounts: after a reboot they are empty files, or gone.
bool NamespacesLive(const Core& core, const Pod& pod) {
  const PodPaths paths = PathsOfPod(core.PodDir(pod.id), pod.config);
  for (const std::string* path :
       {&paths.net_ns, &paths.uts_ns, &paths.ipc_ns, &paths.pid_ns, &paths.user_ns}) {
    if (!path->empty() && !IsPinnedNamespace(*path)) return false;
  }
  // A pod of the host's namespaces has none to look at; its directory is in the state that a reboot
  // empties.
  return Exists(core.PodDir(pod.id)).ok() && *Exists(core.PodDir(pod.id));
}

Status RecoverPod(Core& core, PodEntry& entry) {
  const PodRecord record = entry.Get();
  switch (record.phase) {
    case PodPhase::kCreating:
    case PodPhase::kRemoving:
      return RemoveRecovered(core, entry, record.pod.id);
    case PodPhase::kReady: {
      if (record.pod.state == PodState::kReady && NamespacesLive(core, record.pod)) return Ok();
      RETURN_IF_ERROR(core.Save(entry, [](PodRecord& r) { r.pod.state = PodState::kNotReady; }));
      // Stopped only with all that is in it; should one hang, StopPodSandbox tries again.
      const Context context = Context::ForUndo(60'000);
      RETURN_IF_ERROR(StopContainersOf(core, context, record.pod.id));
      RETURN_IF_ERROR(TearDownPod(core, context, entry));
      return core.Save(entry, MarkStopped);
    }
    case PodPhase::kStopped:
      return Ok();
  }
  return Ok();
}

// ---- what no record knows

Status SweepSnapshots(Core& core) {
  ASSIGN_OR_RETURN(auto ids, core.snapshotter.ListSnapshots());
  for (const std::string& id : ids) {
    if (!core.index.containers.Find(id))
      LogFailure("snapshot", id, core.snapshotter.RemoveSnapshot(id));
  }
  return Ok();
}

Status SweepDirectories(Core& core) {
  ASSIGN_OR_RETURN(auto containers,
                   Open(core.config.state + "/containers", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(ForEachEntry(containers.get(), [&](const std::string& id) {
    if (core.index.containers.Find(id)) return Ok();
    // A shim that nobody knows of has nothing to launch and ends when the connection closes.
    (void)core.ConnectShim(id);
    LogFailure("container directory", id, RemoveTreeAt(containers.get(), id));
    return Ok();
  }));
  ASSIGN_OR_RETURN(auto pods, Open(core.config.state + "/pods", O_RDONLY | O_DIRECTORY));
  return ForEachEntry(pods.get(), [&](const std::string& id) {
    if (core.index.pods.Find(id)) return Ok();
    Status status = RemovePodNamespaces(core.PodDir(id) + "/ns");
    if (status.ok()) status = UnmountPodFiles(core.PodDir(id));
    if (status.ok()) status = RemoveTreeAt(pods.get(), id);
    LogFailure("pod directory", id, status);
    return Ok();
  });
}

Status SweepNetworks(Core& core) {
  ASSIGN_OR_RETURN(auto ids, core.cni->ListCached());
  for (const std::string& id : ids) {
    if (core.index.pods.Find(id)) continue;
    CniPod pod;
    pod.id = id;
    LogFailure("network of pod", id, core.cni->Del(Context::ForUndo(60'000), pod));
  }
  return Ok();
}

// Only below the parent that is this daemon's own: elsewhere are others' cgroups too, and what is
// Berth's there has a record until it is gone.
Status SweepCgroups(Core& core) {
  ASSIGN_OR_RETURN(auto paths, core.cgroups->List(core.default_cgroup_parent));
  std::set<std::string> pods, containers;
  for (const auto& entry : core.index.pods.All()) {
    const Pod pod = entry->With([](const PodRecord& record) { return record.pod; });
    pods.insert(PodCgroup(core, pod));
    containers.insert(PodInitCgroup(core, pod));
  }
  for (const auto& entry : core.index.containers.All()) {
    containers.insert(
        entry->With([](const ContainerRecord& record) { return record.cgroup_path; }));
  }
  // What is in a container's cgroup is its own: of its execs, or made by itself.
  auto is_containers = [&](std::string_view path) {
    for (size_t end = path.size(); end != std::string_view::npos && end > 0;
         end = path.rfind('/', end - 1)) {
      if (containers.contains(std::string(path.substr(0, end)))) return true;
    }
    return false;
  };
  for (const std::string& path : paths) {
    if (pods.contains(path) || is_containers(path)) continue;
    Status status = core.cgroups->Kill(path);
    if (status.ok()) status = core.cgroups->Remove(path);
    LogFailure("cgroup", path, status);
  }
  return Ok();
}

Status LoadIndex(Core& core) {
  ASSIGN_OR_RETURN(auto contents, core.store->Load());
  for (const std::string& id : contents.quarantined) {
    LOG(ERROR) << "record " << id << " is unreadable; it was put into the table quarantine";
  }
  for (PodRecord& record : contents.pods) {
    const std::string id = record.pod.id;
    const std::string key = PodKey(record.pod.config.metadata);
    auto entry = std::make_shared<PodEntry>(std::move(record));
    entry->creation.Finish(Ok());
    core.index.pods.Reserve(key, id, std::move(entry));
  }
  for (ContainerRecord& record : contents.containers) {
    const std::string id = record.container.id;
    const std::string key = ContainerKey(record.container.pod_id, record.container.config.metadata);
    auto entry = std::make_shared<ContainerEntry>(std::move(record));
    entry->creation.Finish(Ok());
    core.index.containers.Reserve(key, id, std::move(entry));
  }
  return Ok();
}

}  // namespace

Status Recover(Core& core) {
  RETURN_IF_ERROR(LoadIndex(core));
  for (const auto& entry : core.index.containers.All()) {
    const auto id = entry->With([](const ContainerRecord& r) { return r.container.id; });
    LogFailure("limits of container", id, TakeBackUpdate(core, *entry));
    LogFailure("container", id, RecoverContainer(core, *entry));
  }
  for (const auto& entry : core.index.pods.All()) {
    const auto id = entry->With([](const PodRecord& r) { return r.pod.id; });
    LogFailure("limits of pod", id, TakeBackUpdate(core, *entry));
    LogFailure("pod", id, RecoverPod(core, *entry));
  }
  RETURN_IF_ERROR(SweepSnapshots(core), "sweep snapshots");
  RETURN_IF_ERROR(SweepDirectories(core), "sweep directories");
  RETURN_IF_ERROR(SweepNetworks(core), "sweep networks");
  RETURN_IF_ERROR(SweepCgroups(core), "sweep cgroups");
  return Ok();
}

}  // namespace berth::runtime
