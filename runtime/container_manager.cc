#include "runtime/container_manager.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/json.h"
#include "base/time.h"
#include "base/undo.h"
#include "runtime/container_create.h"
#include "runtime/container_lifecycle.h"
#include "runtime/container_start.h"
#include "runtime/core.h"
#include "runtime/resource_update.h"

namespace berth::runtime {

namespace {

bool IsVisible(const ContainerRecord& record) {
  return record.phase != ContainerPhase::kCreating;
}

Status CheckMetadata(const ContainerMetadata& metadata) {
  constexpr size_t kMaxNameBytes = 1024;
  const std::string& name = metadata.name;
  if (name.empty()) return Error(Code::kInvalidArgument, "metadata.name is empty");
  if (name.size() > kMaxNameBytes || name.find('\0') != std::string::npos) {
    return Error(Code::kInvalidArgument,
                 StrCat("metadata.name: \"", Printable(name, 80), "\" is not a name"));
  }
  return Ok();
}

// Takes the reservation back and lets joiners know.
Error FailCreation(Core& core, ContainerEntry& entry, const std::string& id, Error error) {
  Status removed = RemoveContainerFiles(core, entry.Get());
  if (removed.ok()) removed = core.store->RemoveContainer(id);
  // Otherwise the record stays, as kCreating, for recovery to try again; the name is free at once.
  if (!removed.ok()) LOG(ERROR) << "container " << id << ": undo: " << removed.error().message();
  core.index.containers.Remove(id);
  // It was told of if all but its record could be made.
  const ContainerRecord record = entry.Get();
  if (IsVisible(record)) core.Tell(record, {EventType::kDeleted});
  entry.creation.Finish(error);
  return error;
}

}  // namespace

ContainerManager::ContainerManager(Core& core) : core_(core) {}

Result<std::string> ContainerManager::Create(const Context& context, const std::string& pod_id,
                                             const ContainerConfig& config) {
  const std::string what = StrCat("create container ", Printable(config.metadata.name, 80));
  RETURN_IF_ERROR(CheckMetadata(config.metadata), "create container");
  ASSIGN_OR_RETURN(auto pod_entry, core_.FindPod(pod_id), what);
  const Pod pod = pod_entry->With([](const PodRecord& record) { return record.pod; });
  if (pod.state != PodState::kReady) {
    return Error(Code::kFailedPrecondition,
                 StrCat(what, ": pod sandbox ", pod.id, " is not ready"));
  }
  // Until the record below says that the layers are in use.
  image::LayerHold hold(core_.images);
  ASSIGN_OR_RETURN(auto images, FindImages(core_, config), what);
  const std::string id = NewId();
  ContainerRecord record = NewContainerRecord(core_, pod, config, images, id);
  auto reserved = core_.index.containers.Reserve(ContainerKey(pod.id, config.metadata), id,
                                                 std::make_shared<ContainerEntry>(record));
  ContainerEntry& entry = *reserved.entry;
  if (!reserved.is_new) {
    RETURN_IF_ERROR(entry.creation.Wait(context), what);
    return entry.With([](const ContainerRecord& r) { return r.container.id; });
  }
  const CreationGuard guard(core_.index.containers, id, reserved.entry);
  Status status = core_.store->Put(record);
  Failpoint("create_container.recorded");
  if (status.ok()) status = BuildContainer(core_, context, pod, images, entry);
  if (!status.ok()) return FailCreation(core_, entry, id, std::move(status).error().Wrap(what));
  Failpoint("create_container.done");
  entry.creation.Finish(Ok());
  // The pod may have been stopped or removed meanwhile: its remover did not wait for this
  // container.
  const bool ready =
      pod_entry->With([](const PodRecord& r) { return r.pod.state == PodState::kReady; });
  if (ready) return id;
  RETURN_IF_ERROR(RemoveContainer(core_, Context::ForUndo(), entry), what);
  return Error(Code::kFailedPrecondition,
               StrCat(what, ": pod sandbox ", pod.id, " was stopped meanwhile"));
}

Status ContainerManager::Start(const Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id), "start container");
  RETURN_IF_ERROR(StartContainer(core_, context, *entry), "start container ", id);
  return Ok();
}

Status ContainerManager::Stop(const Context& context, const std::string& id, int64_t timeout_s) {
  auto entry = core_.index.containers.Find(id);
  if (!entry) return Ok();
  return StopContainer(core_, context, *entry, timeout_s);
}

Status ContainerManager::Remove(const Context& context, const std::string& id) {
  auto entry = core_.index.containers.Find(id);
  if (!entry) return Ok();
  return RemoveContainer(core_, context, *entry);
}

Result<Container> ContainerManager::Get(const std::string& id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id));
  const ContainerRecord record = entry->Get();
  if (!IsVisible(record))
    return Error(Code::kNotFound, StrCat("container \"", Printable(id), "\" not found"));
  return record.container;
}

void ContainerManager::ForEach(const ContainerFilter& filter,
                               const std::function<void(const Container&)>& visit) {
  for (const auto& entry : core_.index.containers.All()) {
    entry->With([&](const ContainerRecord& record) {
      const Container& container = record.container;
      if (IsVisible(record) && container.id.starts_with(filter.id) &&
          container.pod_id.starts_with(filter.pod_id) &&
          (!filter.state || *filter.state == container.state) &&
          LabelsMatch(container.config.labels, filter.labels)) {
        visit(container);
      }
    });
  }
}

Status ContainerManager::UpdateResources(const Context& context, const std::string& id,
                                         const LinuxResources& resources) {
  const std::string what = StrCat("update container ", Printable(id));
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id), what);
  RETURN_IF_ERROR(UpdateContainerResources(core_, context, *entry, resources), what);
  return Ok();
}

Status ContainerManager::ReopenLog(const Context& context, const std::string& id) {
  const std::string what = StrCat("reopen log of container ", Printable(id));
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id), what);
  const ContainerRecord record = entry->Get();
  if (record.phase != ContainerPhase::kRunning) {
    return Error(Code::kFailedPrecondition, StrCat(what, ": it is not running"));
  }
  ASSIGN_OR_RETURN(auto shim, core_.ConnectShim(record.container.id), what);
  RETURN_IF_ERROR(shim.ReopenLog(context.Timeout(10'000)), what);
  return Ok();
}

Result<std::string> ContainerManager::Info(const std::string& id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id));
  const ContainerRecord record = entry->Get();
  Json info = {{"sandboxID", record.container.pod_id},
               {"pid", record.container.pid},
               {"cgroupsPath", record.cgroup_path},
               {"layers", record.layers},
               {"directory", core_.ContainerDir(record.container.id)}};
  auto spec = SpecOfContainer(core_, record);
  if (spec.ok()) {
    ASSIGN_OR_RETURN(info["runtimeSpec"], ParseJson(OciSpecJson(*spec)));
  }
  return ToText(info);
}

}  // namespace berth::runtime
