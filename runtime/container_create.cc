#include "runtime/container_create.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include <cstring>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/socket.h"
#include "base/time.h"
#include "runtime/image_user.h"
#include "runtime/launch_plan.h"
#include "runtime/lsm.h"
#include "runtime/oci_bundle.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_files.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

// Their descriptors go to the shim in one packet, with that of the root file system.
constexpr size_t kMaxImageMounts = kMaxPacketFds - 1;

// "SIGTERM", "TERM", "15", "SIGRTMIN+3"; 0 for what is none (image-spec config.md, StopSignal).
int ParseSignal(std::string_view text) {
  if (auto number = ParseNumber<int>(text)) return *number > 0 && *number <= SIGRTMAX ? *number : 0;
  if (text.starts_with("SIG")) text.remove_prefix(3);
  for (int number = 1; number < SIGRTMIN; ++number) {
    const char* name = sigabbrev_np(number);
    if (name != nullptr && text == name) return number;
  }
  if (!text.starts_with("RTMIN")) return 0;
  text.remove_prefix(5);
  if (text.empty()) return SIGRTMIN;
  auto offset = text[0] == '+' ? ParseNumber<int>(text.substr(1)) : std::nullopt;
  return offset && *offset >= 0 && SIGRTMIN + *offset <= SIGRTMAX ? SIGRTMIN + *offset : 0;
}

int StopSignal(const ContainerConfig& config, const image::Image& image) {
  if (config.stop_signal != 0) return config.stop_signal;
  int from_image = ParseSignal(image.config.stop_signal);
  return from_image != 0 ? from_image : SIGTERM;
}

const NamespaceOptions& NamespacesOf(const PodConfig& pod, const ContainerConfig& container) {
  return container.security.namespaces ? *container.security.namespaces : pod.security.namespaces;
}

// The first process of the container that pid mode TARGET names: one of the same pod, whose parts
// may see each other.
Result<ProcessIdentity> FindTarget(Core& core, const std::string& pod_id,
                                   const std::string& target_id) {
  ASSIGN_OR_RETURN(auto target, core.FindContainer(target_id), "namespace_options.target_id");
  ProcessIdentity process;
  const bool same_pod = target->With([&](const ContainerRecord& r) {
    process = {r.container.pid, r.init_start_time};
    return r.container.pod_id == pod_id;
  });
  if (!same_pod) {
    return Error(Code::kInvalidArgument, StrCat("namespace_options.target_id: container ",
                                                Printable(target_id), " is of another pod"));
  }
  if (process.pid == 0) {
    return Error(Code::kFailedPrecondition, StrCat("namespace_options.target_id: container ",
                                                   Printable(target_id), " is not running"));
  }
  return process;
}

std::string PidNamespaceOf(const ProcessIdentity& process) {
  return StrCat("/proc/", process.pid, "/ns/pid");
}

Error TargetHasChanged(const std::string& target_id) {
  return {Code::kFailedPrecondition,
          StrCat("namespace_options.target_id: container ", Printable(target_id),
                 " has been started again meanwhile")};
}

Result<OciSpec> MakeSpec(Core& core, const Pod& pod, const ContainerRecord& record,
                         const image::ImageConfig& image, const std::string& home) {
  const Container& container = record.container;
  std::string target_pid_ns;
  const NamespaceOptions& namespaces = NamespacesOf(pod.config, container.config);
  if (namespaces.pid == NamespaceMode::kTarget) {
    ASSIGN_OR_RETURN(auto target, FindTarget(core, pod.id, namespaces.target_id));
    target_pid_ns = PidNamespaceOf(target);
  }
  const auto settings = core.live.Get();
  SpecInputs inputs{pod.config,
                    container.config,
                    image,
                    container.user,
                    home,
                    PathsOfPod(core.PodDir(pod.id), pod.config),
                    record.cgroup_path,
                    target_pid_ns,
                    settings->runtime.rlimit_nofile_soft,
                    settings->runtime.rlimit_nofile_hard,
                    settings->runtime.cdi_dirs};
  return BuildOciSpec(inputs);
}

Status CheckHostPaths(const ContainerConfig& config) {
  for (const Mount& mount : config.mounts) {
    if (mount.host_path.empty()) continue;
    auto source = Open(mount.host_path, O_PATH);
    if (!source.ok()) {
      return Error(Code::kInvalidArgument,
                   StrCat("mounts: host_path \"", Printable(mount.host_path), "\" for \"",
                          Printable(mount.container_path), "\": ", source.error().message()),
                   source.error().sys_errno());
    }
  }
  return Ok();
}

// What the launch would find too late: a path that the image does not have.
Status CheckImagePaths(Core& core, const ContainerConfig& config, const ContainerImages& images) {
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    const Mount& mount = config.mounts[i];
    if (!images.mounts[i] || mount.image_sub_path.empty()) continue;
    ASSIGN_OR_RETURN(auto layers,
                     core.snapshotter.MountLayers(images.mounts[i]->config.diff_ids, {}));
    auto found = OpenInRoot(layers.get(), mount.image_sub_path, O_PATH);
    if (found.ok()) continue;
    return Error(
        Code::kInvalidArgument,
        StrCat("mounts[", i, "].image_sub_path: \"", Printable(mount.image_sub_path),
               "\" in image \"", Printable(mount.image->image), "\": ", found.error().message()),
        found.error().sys_errno());
  }
  return Ok();
}

Status CreateSnapshot(Core& core, const Pod& pod, const std::string& id,
                      const image::Image& image) {
  snapshotter::SnapshotOptions options{image.config.diff_ids};
  const NamespaceOptions& namespaces = pod.config.security.namespaces;
  if (HasUserNamespace(namespaces)) {
    options.uid = namespaces.userns->uids[0].host_id;
    options.gid = namespaces.userns->gids[0].host_id;
  }
  return core.snapshotter.CreateSnapshot(id, options);
}

// Only what the request says, never what a container mounts for itself (CVE-2021-43816). Without
// SELinux in the kernel there is no label.
Status RelabelVolumes(const Context& context, const ContainerConfig& config,
                      const std::string& label) {
  if (label.empty()) return Ok();
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    const Mount& mount = config.mounts[i];
    if (!mount.selinux_relabel || mount.image) continue;
    RETURN_IF_ERROR(Relabel(context, mount.host_path, label), "mounts[", i, "].selinux_relabel");
  }
  return Ok();
}

// As one container of the pod after the other needs them: all of them have the pod's level, unless
// they ask for others.
Status RelabelPodFiles(const Core& core, const Context& context, const Pod& pod,
                       const std::string& label) {
  if (label.empty()) return Ok();
  const std::string dir = core.PodDir(pod.id);
  for (const std::string& path : OwnFiles(dir, PathsOfPod(dir, pod.config))) {
    RETURN_IF_ERROR(Relabel(context, path, label));
  }
  return Ok();
}

Status CheckLogPath(const Pod& pod, const ContainerConfig& config) {
  if (config.log_path.empty() || pod.config.log_directory.empty()) return Ok();
  if (IsPlainRelativePath(config.log_path)) return Ok();
  return Error(Code::kInvalidArgument, StrCat("log_path: \"", Printable(config.log_path),
                                              "\" is not a plain relative path"));
}

shim::wire::LogPlan LogOf(const Core& core, const Pod& pod, const ContainerConfig& config) {
  shim::wire::LogPlan log;
  if (config.log_path.empty() || pod.config.log_directory.empty()) return log;
  log.directory = pod.config.log_directory;
  log.name = config.log_path;
  log.max_line_bytes = static_cast<uint32_t>(core.live->runtime.max_log_line_bytes);
  return log;
}

// Makes the container an OCI runtime's, if the pod's handler is one. Else what its hooks need, if
// it has any.
Status AddBundle(Core& core, const Pod& pod, const std::string& id, const OciSpec& spec, int dir,
                 shim::wire::LaunchPlan& plan) {
  const auto handlers = core.Handlers();
  const config::RuntimeHandler* handler = handlers->FindOci(pod.runtime_handler);
  if (handler == nullptr) {
    if (plan.hooks.list.empty()) return Ok();
    plan.hooks.id = id;
    plan.hooks.bundle = core.ContainerDir(id);
    return WriteHookBundle(dir, spec);
  }
  std::string seccomp;
  if (spec.seccomp) {
    ASSIGN_OR_RETURN(seccomp,
                     core.seccomp.OciJson(*spec.seccomp, spec.process.capabilities.bounding));
  }
  plan.hooks = {};  // the runtime's, from config.json
  plan.oci_runtime = {handler->path, handler->arguments, id, core.ContainerDir(id)};
  return WriteOciBundle(dir, core.ContainerDir(id), spec, seccomp);
}

// So that the shim can tell the target's first process from a later one with its number.
Status NameTarget(Core& core, const Pod& pod, const ContainerConfig& config,
                  shim::wire::LaunchPlan& plan) {
  const NamespaceOptions& namespaces = NamespacesOf(pod.config, config);
  if (namespaces.pid != NamespaceMode::kTarget) return Ok();
  ASSIGN_OR_RETURN(auto target, FindTarget(core, pod.id, namespaces.target_id));
  for (shim::wire::NamespacePlan& ns : plan.namespaces) {
    if (ns.flag != CLONE_NEWPID) continue;
    if (ns.path != PidNamespaceOf(target)) return TargetHasChanged(namespaces.target_id);
    ns.pid = target.pid;
    ns.start_time = target.start_time;
  }
  return Ok();
}

Status WritePlan(Core& core, const Pod& pod, const ContainerRecord& record, const OciSpec& spec) {
  std::string seccomp;
  if (spec.seccomp) {
    ASSIGN_OR_RETURN(auto filter,
                     core.seccomp.Get(*spec.seccomp, spec.process.capabilities.bounding));
    if (filter) seccomp = *filter;
  }
  const CgroupJoin join = core.cgroups->Join(record.cgroup_path);
  const ContainerConfig& config = record.container.config;
  ASSIGN_OR_RETURN(auto plan,
                   MakeLaunchPlan({spec, join, seccomp, LogOf(core, pod, config), config.stdin}));
  RETURN_IF_ERROR(NameTarget(core, pod, config, plan));
  RETURN_IF_ERROR(MakeDirs(core.ContainerDir(record.container.id), 0700));
  ASSIGN_OR_RETURN(auto dir, core.OpenContainerDir(record.container.id));
  RETURN_IF_ERROR(AddBundle(core, pod, record.container.id, spec, dir.get(), plan));
  return AtomicWriteFileAt(dir.get(), shim::wire::kPlanName, shim::wire::Encode(plan), 0600);
}

Result<ImageUser> ResolveUser(Core& core, const ContainerRecord& record,
                              const image::Image& image) {
  ASSIGN_OR_RETURN(auto rootfs, core.snapshotter.Mount(record.container.id, {}));
  return ResolveImageUser(rootfs.get(), record.container.config.security, image.config.user);
}

}  // namespace

Result<ContainerImages> FindImages(Core& core, const ContainerConfig& config) {
  auto find = [&](const std::string& reference) -> Result<std::shared_ptr<const image::Image>> {
    auto image = core.images.Find(reference);
    if (image) return image;
    return Error(Code::kNotFound,
                 StrCat("image \"", Printable(reference), "\" not found: pull it first"));
  };
  if (config.image.image.empty()) return Error(Code::kInvalidArgument, "image.image is empty");
  ContainerImages images;
  ASSIGN_OR_RETURN(images.own, find(config.image.image));
  images.mounts.resize(config.mounts.size());
  size_t count = 0;
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    if (!config.mounts[i].image) continue;
    if (++count > kMaxImageMounts) {
      return Error(Code::kInvalidArgument,
                   StrCat("mounts: more than ", kMaxImageMounts, " images"));
    }
    ASSIGN_OR_RETURN(images.mounts[i], find(config.mounts[i].image->image), "mounts[", i,
                     "].image");
  }
  return images;
}

ContainerRecord NewContainerRecord(const Core& core, const Pod& pod, const ContainerConfig& config,
                                   const ContainerImages& images, const std::string& id) {
  const image::Image& image = *images.own;
  ContainerRecord record;
  Container& container = record.container;
  container.id = id;
  container.pod_id = pod.id;
  container.config = config;
  container.state = ContainerState::kCreated;
  container.created_at_ns = WallNs();
  container.image_id = image.id;
  container.image_ref = image.repo_digests.empty() ? image.id : image.repo_digests[0];
  if (!config.log_path.empty() && !pod.config.log_directory.empty()) {
    container.log_path = StrCat(pod.config.log_directory, "/", config.log_path);
  }
  container.resources = config.resources;
  container.stop_signal = StopSignal(config, image);
  record.cgroup_path = core.cgroups->ContainerPath(CgroupParentOf(core, pod), id);
  record.layers = image.config.diff_ids;
  for (size_t i = 0; i < images.mounts.size(); ++i) {
    if (!images.mounts[i]) continue;
    const auto& layers = images.mounts[i]->config.diff_ids;
    record.layers.insert(record.layers.end(), layers.begin(), layers.end());
    // The same as PullImage returned, which is what clients compare it with.
    container.config.mounts[i].image->image_ref = images.mounts[i]->id;
  }
  return record;
}

Status BuildContainer(Core& core, const Context& context, const Pod& pod,
                      const ContainerImages& images, ContainerEntry& entry) {
  const image::Image& image = *images.own;
  ContainerRecord record = entry.Get();
  const ContainerConfig& config = record.container.config;
  RETURN_IF_ERROR(CheckResources(config.resources), "linux.resources");
  RETURN_IF_ERROR(core.cgroups->CheckSupported(config.resources), "linux.resources");
  const auto handlers = core.Handlers();
  if (handlers->FindOci(pod.runtime_handler) != nullptr) {
    RETURN_IF_ERROR(CheckOciContainer(pod.config, config, handlers->Features(pod.runtime_handler)));
  }
  RETURN_IF_ERROR(CheckLogPath(pod, config));
  RETURN_IF_ERROR(CheckHostPaths(config));
  RETURN_IF_ERROR(CheckImagePaths(core, config, images));
  RETURN_IF_ERROR(CreateSnapshot(core, pod, record.container.id, image), "snapshot");
  Failpoint("create_container.snapshot");
  ASSIGN_OR_RETURN(auto user, ResolveUser(core, record, image));
  record.container.user = user.user;
  ASSIGN_OR_RETURN(auto spec, MakeSpec(core, pod, record, image.config, user.home));
  RETURN_IF_ERROR(RelabelVolumes(context, config, spec.mount_label));
  RETURN_IF_ERROR(RelabelPodFiles(core, context, pod, spec.mount_label));
  RETURN_IF_ERROR(WritePlan(core, pod, record, spec));
  return core.SaveAndTell(
      entry,
      [&](ContainerRecord& r) {
        r.container.user = spec.process.user;
        r.device_rules = spec.device_rules;
        r.mount_label = spec.mount_label;
        for (const OciNamespace& ns : spec.namespaces) {
          if (ns.type == "pid") r.target_pid_ns = ns.path;
        }
        for (const OciMount& mount : spec.mounts) {
          if (mount.type != "image") continue;
          r.volume_layers.push_back(images.mounts[mount.index]->config.diff_ids);
        }
        r.phase = ContainerPhase::kCreated;
      },
      {EventType::kCreated});
}

Status CheckTarget(Core& core, const ContainerRecord& record) {
  const auto& namespaces = record.container.config.security.namespaces;
  if (!namespaces || namespaces->pid != NamespaceMode::kTarget) return Ok();
  ASSIGN_OR_RETURN(auto target, FindTarget(core, record.container.pod_id, namespaces->target_id));
  return PidNamespaceOf(target) == record.target_pid_ns
             ? Ok()
             : Status(TargetHasChanged(namespaces->target_id));
}

Result<OciSpec> SpecOfContainer(Core& core, const ContainerRecord& record) {
  ASSIGN_OR_RETURN(auto pod_entry, core.FindPod(record.container.pod_id));
  const Pod pod = pod_entry->With([](const PodRecord& r) { return r.pod; });
  auto image = core.images.Find(record.container.image_id);
  if (!image)
    return Error(Code::kNotFound, StrCat("image ", record.container.image_id, " not found"));
  return MakeSpec(core, pod, record, image->config, "");
}

}  // namespace berth::runtime
