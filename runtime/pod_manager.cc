#include "runtime/pod_manager.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/time.h"
#include "base/undo.h"
#include "runtime/apparmor.h"
#include "runtime/container_lifecycle.h"
#include "runtime/core.h"
#include "runtime/lsm.h"
#include "runtime/netns.h"
#include "runtime/oci_spec_parts.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_files.h"
#include "runtime/pod_lifecycle.h"
#include "runtime/resource_update.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxNameBytes = 1024;

bool HasControlBytes(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; });
}

Status CheckMetadata(const PodMetadata& metadata) {
  const std::pair<const char*, const std::string&> fields[] = {
      {"metadata.name", metadata.name},
      {"metadata.namespace", metadata.namespace_},
      {"metadata.uid", metadata.uid}};
  for (const auto& [field, value] : fields) {
    if (value.empty()) return Error(Code::kInvalidArgument, StrCat(field, " is empty"));
    if (value.size() > kMaxNameBytes || HasControlBytes(value)) {
      return Error(Code::kInvalidArgument,
                   StrCat(field, ": \"", Printable(value, 80), "\" is not a name"));
    }
  }
  return Ok();
}

Status CheckConfig(const Core& core, const PodConfig& config, const std::string& runtime_handler) {
  RETURN_IF_ERROR(CheckMetadata(config.metadata));
  RETURN_IF_ERROR(core.Handlers()->Check(runtime_handler));
  for (const auto& [field, limits] :
       {std::pair("linux.overhead", &config.overhead), {"linux.resources", &config.resources}}) {
    if (!*limits) continue;
    RETURN_IF_ERROR(CheckResources(**limits), field);
    RETURN_IF_ERROR(core.cgroups->CheckSupported(**limits), field);
  }
  RETURN_IF_ERROR(CheckPodFiles(config));
  if (!config.cgroup_parent.empty()) {
    auto parent = core.cgroups->ParentPath(config.cgroup_parent);
    if (!parent.ok()) return std::move(parent).error().Wrap("linux.cgroup_parent");
  }
  if (!config.log_directory.empty()) {
    RETURN_IF_ERROR(CleanContainerPath("log_directory", config.log_directory));
  }
  const NamespaceOptions& namespaces = config.security.namespaces;
  if (namespaces.network != NamespaceMode::kPod && namespaces.network != NamespaceMode::kNode) {
    return Error(Code::kInvalidArgument, "namespace_options.network is neither POD nor NODE");
  }
  if (namespaces.ipc != NamespaceMode::kPod && namespaces.ipc != NamespaceMode::kNode) {
    return Error(Code::kInvalidArgument, "namespace_options.ipc is neither POD nor NODE");
  }
  RETURN_IF_ERROR(CheckUserNamespace(namespaces));
  RETURN_IF_ERROR(AppArmorProfileFor(config.security.apparmor, config.security.privileged));
  RETURN_IF_ERROR(SelinuxLabelsFor(
      {.options = config.security.selinux, .privileged = config.security.privileged},
      KernelsSelinuxPolicy()));
  for (const PortMapping& mapping : config.port_mappings) {
    // A host port of 0 publishes nothing.
    if (mapping.container_port < (mapping.host_port == 0 ? 0 : 1) ||
        mapping.container_port > 65535 || mapping.host_port < 0 || mapping.host_port > 65535) {
      return Error(Code::kInvalidArgument, "port_mappings: a port is not in 1..65535");
    }
  }
  return Ok();
}

std::string Describe(const PodMetadata& metadata) {
  return StrCat("pod ", Printable(metadata.namespace_), "/", Printable(metadata.name));
}

}  // namespace

CniPod CniPodOf(const Core& core, const Pod& pod) {
  CniPod cni;
  cni.id = pod.id;
  cni.name = pod.config.metadata.name;
  cni.namespace_ = pod.config.metadata.namespace_;
  cni.uid = pod.config.metadata.uid;
  cni.netns_path = core.PodDir(pod.id) + "/ns/net";
  cni.port_mappings = pod.config.port_mappings;
  cni.annotations = pod.config.annotations;
  return cni;
}

namespace {

bool HasOwnNetwork(const PodConfig& config) {
  return config.security.namespaces.network == NamespaceMode::kPod;
}

// The pod's user namespace, and what of the others it is to own.
Result<OwnedNamespaces> MakeOwnedNamespaces(const Core& core, const Context& context,
                                            const UserNamespace& wanted,
                                            const PodNamespaceOptions& options) {
  const int flags = (options.net ? CLONE_NEWNET : 0) | (options.ipc ? CLONE_NEWIPC : 0) |
                    (options.uts ? CLONE_NEWUTS : 0);
  ASSIGN_OR_RETURN(auto made, core.shims->MakeNamespaces(
                                  context, {IdRanges(wanted.uids), IdRanges(wanted.gids), flags}));
  OwnedNamespaces owned;
  owned.uid = wanted.uids[0].host_id;
  std::vector<UniqueFd*> members = {&owned.user};
  if (options.net) members.push_back(&owned.net);
  if (options.ipc) members.push_back(&owned.ipc);
  if (options.uts) members.push_back(&owned.uts);
  if (made.size() != members.size()) return Error(Code::kInternal, "namespaces are missing");
  for (size_t i = 0; i < made.size(); ++i) *members[i] = std::move(made[i]);
  return owned;
}

Status CreateNamespaces(const Core& core, const Context& context, const Pod& pod) {
  const NamespaceOptions& wanted = pod.config.security.namespaces;
  PodNamespaceOptions options;
  options.net = HasOwnNetwork(pod.config);
  options.uts = options.net;
  options.ipc = wanted.ipc == NamespaceMode::kPod;
  options.hostname = PodHostname(pod.config);
  options.sysctls = pod.config.sysctls;
  const std::string dir = core.PodDir(pod.id) + "/ns";
  if (HasUserNamespace(wanted)) {
    ASSIGN_OR_RETURN(auto owned, MakeOwnedNamespaces(core, context, *wanted.userns, options));
    RETURN_IF_ERROR(CreatePodNamespaces(dir, options, &owned));
  } else {
    RETURN_IF_ERROR(CreatePodNamespaces(dir, options));
  }
  return Ok();
}

// Confined like the pod's containers, which look at it, whatever these may do.
Result<SelinuxLabels> InitLabels(const PodConfig& config) {
  const SelinuxPolicy policy = KernelsSelinuxPolicy();
  if (!policy) return SelinuxLabels();
  const bool with_hosts_ipc = config.security.namespaces.ipc == NamespaceMode::kNode;
  return SelinuxLabelsFor({.options = config.security.selinux,
                           .sees_hosts_processes = with_hosts_ipc,
                           .pod_uid = config.metadata.uid},
                          policy);
}

// A PID namespace lives as long as its first process; the file only makes it findable.
Status StartInit(Core& core, const Context& context, PodEntry& entry, const Pod& pod) {
  UniqueFd user_namespace;
  if (HasUserNamespace(pod.config.security.namespaces)) {
    ASSIGN_OR_RETURN(user_namespace, Open(core.PodDir(pod.id) + "/ns/user", O_RDONLY));
  }
  ASSIGN_OR_RETURN(const SelinuxLabels labels, InitLabels(pod.config));
  ASSIGN_OR_RETURN(pid_t pid, core.shims->StartPodInit(context, user_namespace.get(), labels));
  ProcessIdentity init{pid, 0};
  auto start_time = ProcessStartTime(pid);
  if (start_time.ok()) init.start_time = *start_time;
  RETURN_IF_ERROR(core.Save(entry, [&](PodRecord& record) { record.init = init; }));
  RETURN_IF_ERROR(PlacePodInit(core, pod, pid));
  return PinNamespace(StrCat("/proc/", pid, "/ns/pid"), core.PodDir(pod.id) + "/ns/pid");
}

// Everything between the record and readiness. What it leaves on failure is TearDownPod's to
// remove.
Status BuildPod(Core& core, const Context& context, PodEntry& entry) {
  const Pod pod = entry.With([](const PodRecord& record) { return record.pod; });
  const std::string dir = core.PodDir(pod.id);
  RETURN_IF_ERROR(MakeDirs(dir, 0700));
  RETURN_IF_ERROR(CreatePodCgroup(core, pod), "create the pod's cgroup");
  RETURN_IF_ERROR(CreateNamespaces(core, context, pod), "create namespaces");
  Failpoint("run_pod.namespaces");
  std::vector<std::string> ips;
  if (HasOwnNetwork(pod.config)) {
    RETURN_IF_ERROR(core.Save(entry, [](PodRecord& record) { record.network = true; }));
    ASSIGN_OR_RETURN(auto network, core.cni->Add(context, CniPodOf(core, pod)), "setup network");
    ips = network.ips;
  }
  Failpoint("run_pod.network");
  RETURN_IF_ERROR(CreatePodFiles(dir, pod.config, ips), "create pod files");
  if (pod.config.security.namespaces.pid == NamespaceMode::kPod) {
    RETURN_IF_ERROR(StartInit(core, context, entry, pod), "create pid namespace");
  }
  Failpoint("run_pod.files");
  return core.SaveAndTell(entry,
                          [&](PodRecord& record) {
                            record.pod.ips = ips;
                            record.pod.state = PodState::kReady;
                            record.phase = PodPhase::kReady;
                          },
                          {EventType::kCreated, EventType::kStarted});
}

// The process that was recorded, and no other that has its number by now.
void KillProcess(const ProcessIdentity& process) {
  if (process.pid <= 1) return;
  auto start_time = ProcessStartTime(process.pid);
  if (start_time.ok() && *start_time == process.start_time) kill(process.pid, SIGKILL);
}

}  // namespace

Status TearDownPod(Core& core, const Context& context, PodEntry& entry) {
  const PodRecord record = entry.Get();
  const std::string dir = core.PodDir(record.pod.id);
  core.meters->Forget(record.pod.id);  // or its network namespace lives on
  KillProcess(record.init);
  if (record.init.pid != 0) {
    RETURN_IF_ERROR(core.cgroups->Remove(PodInitCgroup(core, record.pod)), "remove init's cgroup");
  }
  if (record.network) {
    RETURN_IF_ERROR(core.cni->Del(context, CniPodOf(core, record.pod)), "take down network");
    RETURN_IF_ERROR(core.Save(entry, [](PodRecord& r) { r.network = false; }));
  }
  RETURN_IF_ERROR(RemovePodNamespaces(dir + "/ns"), "remove namespaces");
  return UnmountPodFiles(dir);
}

void MarkStopped(PodRecord& record) {
  record.phase = std::max(record.phase, PodPhase::kStopped);
  record.init = {};
  record.pod.ips.clear();  // other pods' from now on
}

Status ForgetPod(Core& core, const std::string& id) {
  const auto entry = core.index.pods.Find(id);
  if (entry) {
    const Pod pod = entry->With([](const PodRecord& record) { return record.pod; });
    RETURN_IF_ERROR(RemovePodCgroup(core, pod), "remove the pod's cgroup");
  }
  ASSIGN_OR_RETURN(auto pods, Open(core.config.state + "/pods", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(RemoveTreeAt(pods.get(), id));
  RETURN_IF_ERROR(core.store->RemovePod(id));
  core.index.pods.Remove(id);
  // Of a pod that was never ready nobody has heard.
  const bool known = entry && entry->With([](const PodRecord& record) {
    return record.phase != PodPhase::kCreating;
  });
  if (known) core.events.Publish(entry, id, {EventType::kDeleted});
  return Ok();
}

PodManager::PodManager(Core& core) : core_(core) {}

Result<std::string> PodManager::Run(const Context& context, const PodConfig& config,
                                    const std::string& runtime_handler) {
  const std::string what = StrCat("run ", Describe(config.metadata));
  RETURN_IF_ERROR(CheckConfig(core_, config, runtime_handler), what);
  PodRecord record;
  record.pod.id = NewId();
  record.pod.config = config;
  record.pod.runtime_handler = runtime_handler;
  record.pod.created_at_ns = WallNs();
  const std::string id = record.pod.id;
  auto reserved =
      core_.index.pods.Reserve(PodKey(config.metadata), id, std::make_shared<PodEntry>(record));
  PodEntry& entry = *reserved.entry;
  if (!reserved.is_new) {
    RETURN_IF_ERROR(entry.creation.Wait(context), what);
    const Pod existing = entry.With([](const PodRecord& r) { return r.pod; });
    if (existing.state == PodState::kReady) return existing.id;
    return Error(Code::kAlreadyExists,
                 StrCat(what, ": pod sandbox ", existing.id,
                        " of the same name, uid and attempt is stopped: remove it first"));
  }
  const CreationGuard guard(core_.index.pods, id, reserved.entry);
  Status status = core_.store->Put(record);
  Failpoint("run_pod.recorded");
  if (status.ok()) status = BuildPod(core_, context, entry);
  Failpoint("run_pod.ready");
  if (!status.ok()) {
    Status undone = TearDownPod(core_, Context::ForUndo(), entry);
    if (undone.ok()) undone = ForgetPod(core_, id);
    if (!undone.ok()) {
      // The record stays, as kCreating, and recovery tries again; the name is free for a retry.
      LOG(ERROR) << what << ": undo: " << undone.error().message();
      core_.index.pods.Remove(id);
    }
    Error error = std::move(status).error().Wrap(what);
    entry.creation.Finish(error);
    return error;
  }
  entry.creation.Finish(Ok());
  return id;
}

namespace {

Status StopLocked(Core& core, const Context& context, PodEntry& entry) {
  const std::string id = entry.With([](const PodRecord& record) { return record.pod.id; });
  // Not ready from now on, so that no container is started while the others are stopped.
  RETURN_IF_ERROR(
      core.Save(entry, [](PodRecord& record) { record.pod.state = PodState::kNotReady; }));
  Failpoint("stop_pod.recorded");
  RETURN_IF_ERROR(StopContainersOf(core, context, id));
  RETURN_IF_ERROR(TearDownPod(core, context, entry));
  // A removal that is tried again has told of it before.
  const bool again =
      entry.With([](const PodRecord& record) { return record.phase >= PodPhase::kStopped; });
  return again ? core.Save(entry, MarkStopped)
               : core.SaveAndTell(entry, MarkStopped, {EventType::kStopped});
}

bool IsStopped(PodEntry& entry) {
  return entry.With([](const PodRecord& record) { return record.phase == PodPhase::kStopped; });
}

}  // namespace

Status PodManager::Stop(const Context& context, const std::string& id) {
  auto entry = core_.index.pods.Find(id);
  if (!entry) return Ok();
  RETURN_IF_ERROR(entry->creation.AwaitEnd(context), "stop pod ", id);
  ASSIGN_OR_RETURN(auto operation, entry->operation.Begin(context, "StopPodSandbox"), "stop pod ",
                   id);
  if (IsStopped(*entry)) return Ok();
  RETURN_IF_ERROR(StopLocked(core_, context, *entry), "stop pod ", id);
  return Ok();
}

Status PodManager::Remove(const Context& context, const std::string& id) {
  auto entry = core_.index.pods.Find(id);
  if (!entry) return Ok();
  RETURN_IF_ERROR(entry->creation.AwaitEnd(context), "remove pod ", id);
  ASSIGN_OR_RETURN(auto operation, entry->operation.Begin(context, "RemovePodSandbox"),
                   "remove pod ", id);
  const std::string whole_id = entry->With([](const PodRecord& record) { return record.pod.id; });
  if (!core_.index.pods.Find(whole_id)) return Ok();  // somebody else has just removed it
  if (!IsStopped(*entry)) RETURN_IF_ERROR(StopLocked(core_, context, *entry), "remove pod ", id);
  RETURN_IF_ERROR(
      core_.Save(*entry, [](PodRecord& record) { record.phase = PodPhase::kRemoving; }));
  Failpoint("remove_pod.recorded");
  RETURN_IF_ERROR(RemoveContainersOf(core_, context, whole_id), "remove pod ", id);
  return ForgetPod(core_, whole_id);
}

Status PodManager::UpdateResources(const Context& context, const std::string& id,
                                   const std::optional<LinuxResources>& overhead,
                                   const std::optional<LinuxResources>& resources) {
  const std::string what = StrCat("update pod ", Printable(id));
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(id), what);
  RETURN_IF_ERROR(entry->creation.Wait(context), what);
  RETURN_IF_ERROR(UpdatePodResources(core_, context, *entry, overhead, resources), what);
  return Ok();
}

namespace {

// A pod that is still being made is nobody's to see: its creator has not been told its id.
bool IsVisible(const PodRecord& record) {
  return record.phase != PodPhase::kCreating;
}

}  // namespace

Result<Pod> PodManager::Get(const std::string& id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(id));
  const PodRecord record = entry->Get();
  if (!IsVisible(record))
    return Error(Code::kNotFound, StrCat("pod sandbox \"", Printable(id), "\" not found"));
  return record.pod;
}

Result<PodSnapshot> PodManager::Snapshot(const std::string& id) {
  RETURN_IF_ERROR(Get(id));
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(id));
  return TakePodSnapshot(core_.index, *entry);
}

void PodManager::ForEach(const PodFilter& filter, const std::function<void(const Pod&)>& visit) {
  for (const auto& entry : core_.index.pods.All()) {
    entry->With([&](const PodRecord& record) {
      const Pod& pod = record.pod;
      if (IsVisible(record) && pod.id.starts_with(filter.id) &&
          (!filter.state || *filter.state == pod.state) &&
          LabelsMatch(pod.config.labels, filter.labels)) {
        visit(pod);
      }
    });
  }
}

namespace {

Json LimitsJson(const std::optional<LinuxResources>& limits) {
  if (!limits) return nullptr;
  return {{"cpuPeriod", limits->cpu_period_us},
          {"cpuQuota", limits->cpu_quota_us},
          {"cpuShares", limits->cpu_shares},
          {"memoryLimitInBytes", limits->memory_limit_bytes},
          {"memorySwapLimitInBytes", limits->memory_swap_limit_bytes},
          {"cpusetCpus", limits->cpuset_cpus},
          {"cpusetMems", limits->cpuset_mems},
          {"unified", limits->unified}};
}

Status TryUserNamespace(const Core& core) {
  // Any ids do: nobody but this call has the namespace.
  const std::vector<shim::wire::IdRange> ids = {{0, 65536, 65536}};
  ASSIGN_OR_RETURN(auto made,
                   core.shims->MakeNamespaces(Context::WithTimeoutMs(5'000), {ids, ids, 0}));
  snapshotter::MountOptions options;
  options.user_namespace = made[0].get();
  RETURN_IF_ERROR(core.snapshotter.MountLayers({}, options));
  return Ok();
}

}  // namespace

bool PodManager::SupportsUserNamespaces() {
  std::call_once(user_namespaces_tried_, [this] {
    Status status = TryUserNamespace(core_);
    user_namespaces_ = status.ok();
    if (!status.ok()) LOG(WARNING) << "no user namespaces for pods: " << status.error().message();
  });
  return user_namespaces_;
}

Result<std::string> PodManager::Info(const std::string& id) {
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(id));
  const PodRecord record = entry->Get();
  const PodPaths paths = PathsOfPod(core_.PodDir(record.pod.id), record.pod.config);
  Json info = {{"directory", core_.PodDir(record.pod.id)},
               {"namespaces",
                {{"network", paths.net_ns},
                 {"ipc", paths.ipc_ns},
                 {"uts", paths.uts_ns},
                 {"user", paths.user_ns},
                 {"pid", paths.pid_ns}}},
               {"initPid", record.init.pid},
               {"cgroupParent", CgroupParentOf(core_, record.pod)},
               {"runtimeHandler", record.pod.runtime_handler},
               {"overhead", LimitsJson(record.pod.config.overhead)},
               {"resources", LimitsJson(record.pod.config.resources)}};
  return ToText(info);
}

}  // namespace berth::runtime
