#include "runtime/runtime.h"

#include <glog/logging.h>

#include <cstdlib>

#include "base/file.h"
#include "runtime/container_lifecycle.h"
#include "runtime/core.h"
#include "runtime/netns.h"
#include "runtime/recovery.h"

namespace berth::runtime {

namespace {

Status MakeDirectories(const config::Config& config) {
  for (const char* name : {"/pods", "/containers"}) {
    RETURN_IF_ERROR(MakeDirs(config.state + name, 0700));
  }
  return EnsurePrivateMount(config.state + "/pods");
}

CniOptions CniOptionsOf(const config::Config& config) {
  CniOptions options;
  options.conf_dir = config.cni.conf_dir;
  options.bin_dirs = config.cni.bin_dirs;
  options.cache_dir = config.cni.cache_dir.empty() ? config.root + "/cni" : config.cni.cache_dir;
  options.timeout_ms = config.runtime.cni_timeout_ms;
  return options;
}

HandlerFeatures BuiltinFeatures() {
  return {.recursive_read_only_mounts = true, .user_namespaces = true};
}

Status OpenCgroups(Core& core) {
  ASSIGN_OR_RETURN(core.cgroups, NewCgroupDriver(core.config.cgroup.driver));
  const std::string& configured = core.config.cgroup.default_parent;
  ASSIGN_OR_RETURN(
      core.default_cgroup_parent,
      core.cgroups->ParentPath(configured.empty() ? core.cgroups->DefaultParent() : configured),
      "cgroup.default_parent");
  return Ok();
}

// In a unit's cgroup the unit's limits and its OOM policy would reach shims, too. With the systemd
// driver each is in its container's scope; else they get a cgroup beside all units. Where no
// service manager has started the daemon its cgroup is as good as any. systemd.exec(5),
// INVOCATION_ID.
constexpr char kShimCgroup[] = "/berth-shims";

bool NeedsShimCgroup(const Core& core) {
  return !core.cgroups->is_systemd() && getenv("INVOCATION_ID") != nullptr;
}

Status OpenShims(Core& core) {
  ASSIGN_OR_RETURN(auto shims, ShimLauncher::Open(core.config.runtime.shim_path));
  core.shims = std::make_unique<ShimLauncher>(std::move(shims));
  if (!NeedsShimCgroup(core)) return Ok();
  RETURN_IF_ERROR(core.cgroups->Create(kShimCgroup, {}, {}, 0), "cgroup of shims");
  return core.shims->UseCgroup(core.cgroups->Join(kShimCgroup));
}

std::vector<std::string> LayersInUse(Core& core) {
  std::vector<std::string> layers;
  for (const auto& entry : core.index.containers.All()) {
    entry->With([&](const ContainerRecord& record) {
      layers.insert(layers.end(), record.layers.begin(), record.layers.end());
    });
  }
  return layers;
}

}  // namespace

Result<std::unique_ptr<Runtime>> Runtime::Open(const config::LiveConfig& live, EventLoop& loop,
                                               snapshotter::Snapshotter& snapshotter,
                                               image::ImageStore& images) {
  auto core = std::make_unique<Core>(live, loop, snapshotter, images);
  const config::Config& config = core->config;
  RETURN_IF_ERROR(MakeDirectories(config));
  RETURN_IF_ERROR(OpenCgroups(*core));
  core->meters = std::make_unique<Meters>(*core->cgroups);
  core->SetHandlers(std::make_shared<const RuntimeHandlers>(config, BuiltinFeatures()));
  ASSIGN_OR_RETURN(core->store, Store::Open(config.root + "/meta.db"));
  RETURN_IF_ERROR(OpenShims(*core));
  ASSIGN_OR_RETURN(core->cni, Cni::Open(CniOptionsOf(config), loop));
  Core& shared = *core;
  core->monitor = std::make_unique<ShimMonitor>(
      loop,
      [&shared](const std::string& id,
                const std::optional<shim::wire::ExitStatus>& exit) -> Status {
        auto entry = shared.index.containers.Find(id);
        if (!entry) return Ok();
        return RecordExit(shared, *entry, exit);
      });
  RETURN_IF_ERROR(Recover(shared), "recovery");
  images.SetLayerUser([&shared] { return LayersInUse(shared); });
  // What a former daemon left of pulls that it did not finish.
  const auto collected = images.CollectLayers();
  if (!collected.ok()) LOG(ERROR) << "collect layers: " << collected.error().message();
  return std::unique_ptr<Runtime>(new Runtime(std::move(core)));
}

Runtime::Runtime(std::unique_ptr<Core> core)
    : core_(std::move(core)),
      pods_(*core_),
      containers_(*core_),
      execs_(*core_),
      stats_(*core_),
      metrics_(*core_, stats_) {}

Runtime::~Runtime() {
  core_->images.SetLayerUser({});
  // No callback of ours may run while the members go.
  core_->loop.Stop();
  // Without pods nothing is mounted below it; a daemon that has none leaves nothing behind.
  if (!core_->index.pods.All().empty()) return;
  (void)RemovePrivateMount(core_->config.state + "/pods");
  if (NeedsShimCgroup(*core_)) (void)core_->cgroups->Remove(kShimCgroup);
}

PodManager& Runtime::pods() {
  return pods_;
}
ContainerManager& Runtime::containers() {
  return containers_;
}
ExecManager& Runtime::execs() {
  return execs_;
}
StatsCollector& Runtime::stats() {
  return stats_;
}
MetricsCollector& Runtime::metrics() {
  return metrics_;
}
EventBus& Runtime::events() {
  return core_->events;
}
CgroupDriver& Runtime::cgroups() {
  return *core_->cgroups;
}
Cni& Runtime::cni() {
  return *core_->cni;
}
std::shared_ptr<const RuntimeHandlers> Runtime::handlers() {
  return core_->Handlers();
}

void Runtime::Reconfigure() {
  const auto config = core_->live.Get();
  core_->cni->Reconfigure(CniOptionsOf(*config));
  core_->SetHandlers(std::make_shared<const RuntimeHandlers>(*config, BuiltinFeatures()));
}

}  // namespace berth::runtime
