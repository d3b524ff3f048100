#include "runtime/pod_cgroup.h"

#include <cmath>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr int64_t kDefaultPeriodUs = 100'000;

LinuxResources LimitsOf(const PodConfig& config) {
  return WithOverhead(config.resources.value_or(LinuxResources{}),
                      config.overhead.value_or(LinuxResources{}));
}

bool HasLimits(const LinuxResources& r) {
  return r.cpu_quota_us != 0 || r.cpu_shares != 0 || r.memory_limit_bytes != 0 ||
         r.memory_swap_limit_bytes != 0 || !r.cpuset_cpus.empty() || !r.cpuset_mems.empty() ||
         !r.hugepage_limits.empty() || !r.unified.empty();
}

// The sum, unless the first is no limit.
int64_t AddTo(int64_t limit, int64_t more) {
  if (limit <= 0 || more <= 0) return limit;
  return limit > INT64_MAX - more ? INT64_MAX : limit + more;
}

}  // namespace

std::string PodCgroup(const Core& core, const Pod& pod) {
  if (!pod.config.cgroup_parent.empty()) return "";
  return core.cgroups->PodPath(core.default_cgroup_parent, pod.id);
}

std::string CgroupParentOf(const Core& core, const Pod& pod) {
  const std::string& parent = pod.config.cgroup_parent;
  if (parent.empty()) return PodCgroup(core, pod);
  auto path = core.cgroups->ParentPath(parent);
  // It was good when the pod was made; a daemon with the other driver cannot find it.
  return path.ok() ? *path : parent;
}

LinuxResources WithOverhead(const LinuxResources& resources, const LinuxResources& overhead) {
  LinuxResources sum = resources;
  sum.cpu_shares = AddTo(resources.cpu_shares, overhead.cpu_shares);
  if (resources.cpu_quota_us > 0 && overhead.cpu_quota_us > 0) {
    // Each quota is per its own period.
    const auto period = [](const LinuxResources& r) {
      return static_cast<double>(r.cpu_period_us != 0 ? r.cpu_period_us : kDefaultPeriodUs);
    };
    const double scale = period(resources) / period(overhead);
    sum.cpu_quota_us += std::llround(static_cast<double>(overhead.cpu_quota_us) * scale);
  }
  sum.memory_limit_bytes = AddTo(resources.memory_limit_bytes, overhead.memory_limit_bytes);
  // It includes memory.
  sum.memory_swap_limit_bytes =
      AddTo(resources.memory_swap_limit_bytes, overhead.memory_limit_bytes);
  sum.oom_score_adj = 0;  // each process's own
  return sum;
}

Status CreatePodCgroup(Core& core, const Pod& pod) {
  const std::string path = PodCgroup(core, pod);
  const LinuxResources limits = LimitsOf(pod.config);
  // Without limits the first container's start makes it.
  if (path.empty() || !HasLimits(limits)) return Ok();
  return core.cgroups->Create(path, limits, {}, /*shim=*/0);
}

Result<FormerLimits> PodLimitsBefore(Core& core, const Pod& pod) {
  const std::string path = PodCgroup(core, pod);
  const LinuxResources limits = LimitsOf(pod.config);
  if (path.empty() || !HasLimits(limits)) return FormerLimits();
  auto former = core.cgroups->LimitsBefore(path, limits);
  if (former.code() != Code::kNotFound) return former;
  RETURN_IF_ERROR(core.cgroups->Create(path, {}, {}, /*shim=*/0));
  return core.cgroups->LimitsBefore(path, limits);
}

Status UpdatePodCgroup(Core& core, const Pod& pod) {
  const std::string path = PodCgroup(core, pod);
  const LinuxResources limits = LimitsOf(pod.config);
  return path.empty() || !HasLimits(limits) ? Ok() : core.cgroups->Update(path, limits);
}

Status RestorePodCgroup(Core& core, const Pod& pod, const FormerLimits& former) {
  const std::string path = PodCgroup(core, pod);
  if (path.empty() || (former.files.empty() && former.unit.empty())) return Ok();
  return core.cgroups->Restore(path, former);
}

std::string PodInitCgroup(const Core& core, const Pod& pod) {
  return core.cgroups->ContainerPath(CgroupParentOf(core, pod), pod.id);
}

Status PlacePodInit(Core& core, const Pod& pod, int32_t pid) {
  const std::string path = PodInitCgroup(core, pod);
  RETURN_IF_ERROR(core.cgroups->Create(path, {}, {}, pid));
  if (core.cgroups->is_systemd()) return Ok();  // it is in the scope already
  const CgroupJoin join = core.cgroups->Join(path);
  for (const std::string& file : join.tasks_files) RETURN_IF_ERROR(WriteFile(file, StrCat(pid)));
  return join.directory.empty() ? Ok() : WriteFile(join.directory + "/cgroup.procs", StrCat(pid));
}

Status RemovePodCgroup(Core& core, const Pod& pod) {
  const std::string path = PodCgroup(core, pod);
  return path.empty() ? Ok() : core.cgroups->Remove(path);
}

}  // namespace berth::runtime
