#include "runtime/cgroup_systemd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/time.h"
#include "base/undo.h"
#include "runtime/cgroup_resources.h"
#include "runtime/cgroup_settings.h"
#include "runtime/cgroup_tree.h"
#include "runtime/cgroup_v2.h"

namespace berth::runtime {

namespace {

constexpr std::string_view kScopeSuffix = ".scope";
constexpr std::string_view kSliceSuffix = ".slice";
constexpr std::string_view kContainerName = "/container";
constexpr std::string_view kShimName = "/shim";
constexpr std::string_view kScopePrefix = "berth-";

// All that a call may take, trying again after a lost connection included.
constexpr int64_t kTotalMs = 30'000;
constexpr int kRetryMs = 50;
// After a lost connection: what systemd may need to put the process into the scope that it has
// made for us already.
constexpr int64_t kArrivalMs = 2'000;

std::string_view Base(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}
std::string_view ParentOf(std::string_view path) {
  return path.substr(0, path.rfind('/'));
}

// Of the cgroup of a container: that of its scope. Empty if it is none.
std::string_view ScopeOf(std::string_view path) {
  if (!path.ends_with(kContainerName)) return "";
  const std::string_view scope = ParentOf(path);
  return scope.ends_with(kScopeSuffix) ? scope : "";
}

// The cgroup of the unit that a cgroup is, or is in.
std::string UnitPathOf(const std::string& path) {
  const std::string_view scope = ScopeOf(path);
  return scope.empty() ? path : std::string(scope);
}

// The cgroup v2 of a process, as a path of the hierarchy. Empty if it has ended.
std::string CgroupOf(pid_t pid) {
  auto text = ReadFile(StrCat("/proc/", pid, "/cgroup"));
  if (!text.ok()) return "";
  for (std::string_view line : Split(*text, '\n')) {
    if (line.starts_with("0::")) return std::string(line.substr(3));
  }
  return "";
}

bool IsIn(pid_t pid, std::string_view path) {
  const std::string own = CgroupOf(pid);
  return own.starts_with(path) && (own.size() == path.size() || own[path.size()] == '/');
}

UnitProperties Common(std::string description, const UnitProperties& limits) {
  UnitProperties properties = {{"Description", std::move(description)},
                               {"CPUAccounting", true},
                               {"IOAccounting", true},
                               {"MemoryAccounting", true},
                               {"TasksAccounting", true}};
  properties.insert(properties.end(), limits.begin(), limits.end());
  // Systemd's default is 15 % of all process ids.
  if (std::none_of(limits.begin(), limits.end(),
                   [](const UnitProperty& one) { return one.name == "TasksMax"; })) {
    properties.push_back({"TasksMax", kUnitInfinity});
  }
  return properties;
}

class SystemdCgroupDriver final : public CgroupDriver {
 public:
  SystemdCgroupDriver(std::unique_ptr<SystemdBus> bus, UniqueFd root,
                      std::unique_ptr<CgroupDriver> files)
      : bus_(std::move(bus)), root_(std::move(root)), files_(std::move(files)) {}

  CgroupVersion version() const override { return CgroupVersion::kV2; }
  bool is_systemd() const override { return true; }
  Result<std::string> ParentPath(const std::string& parent) const override {
    return SlicePath(parent, "cgroup_parent");
  }
  std::string DefaultParent() const override { return "berth.slice"; }
  std::string PodPath(const std::string& parent_path, const std::string& pod_id) const override;
  std::string ContainerPath(const std::string& parent_path, const std::string& id) const override {
    return StrCat(parent_path, "/", kScopePrefix, id, kScopeSuffix, kContainerName);
  }
  Status CheckSupported(const LinuxResources& resources) const override {
    return files_->CheckSupported(resources);
  }
  Status Create(const std::string& path, const LinuxResources& resources,
                const std::vector<DeviceRule>& devices, int32_t shim) override;
  CgroupJoin Join(const std::string& path) const override { return files_->Join(path); }
  Status Update(const std::string& path, const LinuxResources& resources) override;
  Result<FormerLimits> LimitsBefore(const std::string& path,
                                    const LinuxResources& resources) const override;
  Status Restore(const std::string& path, const FormerLimits& former) override;
  Result<UniqueFd> OpenDirectory(const std::string& path,
                                 std::string_view controller) const override {
    return files_->OpenDirectory(path, controller);
  }
  Result<std::vector<int32_t>> Processes(const std::string& path) const override {
    return files_->Processes(path);
  }
  Status Kill(const std::string& path) override { return files_->Kill(path); }
  Status Remove(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& parent_path) const override;

 private:
  // Those of an update of the cgroup.
  Result<std::vector<CgroupSetting>> SettingsFor(const std::string& path,
                                                 const LinuxResources& resources) const;
  Status MakeScope(const std::string& scope, const UnitProperties& limits, pid_t shim);
  Status MakeSlice(const std::string& slice, const UnitProperties& limits);
  Status StartScope(const Context& context, const std::string& scope,
                    const UnitProperties& properties, pid_t shim);
  Status Settle(pid_t shim, const std::string& scope);
  Status TellUnit(const std::string& unit_path, const UnitProperties& properties);
  // But no limit of memory that is below what is in use now: the kernel would kill its way to it.
  Status RestoreUnit(const std::string& unit_path, UnitProperties former);

  const std::unique_ptr<SystemdBus> bus_;
  const UniqueFd root_;
  const std::unique_ptr<CgroupDriver> files_;  // cgroupfs, below what systemd has made
};

// "/berth.slice" and "x": "/berth.slice/berth-x.slice".
std::string SystemdCgroupDriver::PodPath(const std::string& parent_path,
                                         const std::string& pod_id) const {
  std::string_view stem = Base(parent_path);
  if (stem.empty()) return StrCat("/", pod_id, kSliceSuffix);  // below "-.slice", the root
  stem.remove_suffix(kSliceSuffix.size());
  return StrCat(parent_path, "/", stem, "-", pod_id, kSliceSuffix);
}

// One that a lost connection has hidden from us, or that a killed daemon left, is in the way.
Status SystemdCgroupDriver::StartScope(const Context& context, const std::string& scope,
                                       const UnitProperties& properties, pid_t shim) {
  const std::string unit(Base(scope));
  bool lost = false;
  bool cleared = false;
  while (true) {
    Status status = bus_->Start(context, unit, properties);
    if (status.code() == Code::kUnavailable) {
      lost = true;
      RETURN_IF_ERROR(context.Check("waiting for systemd"), status.error().message());
      usleep(kRetryMs * 1000);
      continue;
    }
    if (status.code() != Code::kAlreadyExists) return status;
    const int64_t until_ns = MonotonicNs() + (lost ? kArrivalMs * 1'000'000 : 0);
    while (!IsIn(shim, scope) && MonotonicNs() < until_ns) usleep(kRetryMs * 1000);
    if (IsIn(shim, scope)) return Ok();
    if (cleared) return status;
    cleared = true;
    RETURN_IF_ERROR(files_->Kill(scope));
    RETURN_IF_ERROR(bus_->Stop(context, unit), "stop what was left of it");
  }
}

// A cgroup that has children with controllers cannot have processes of its own.
Status SystemdCgroupDriver::Settle(pid_t shim, const std::string& scope) {
  const std::string place = StrCat(scope.substr(1), kShimName);
  if (mkdirat(root_.get(), place.c_str(), 0755) != 0 && errno != EEXIST) {
    return ErrnoError(StrCat("mkdir cgroup /", place));
  }
  return WriteFileAt(root_.get(), place + "/cgroup.procs", StrCat(shim));
}

Status SystemdCgroupDriver::MakeScope(const std::string& scope, const UnitProperties& limits,
                                      pid_t shim) {
  if (shim == 0) return Error(Code::kInternal, StrCat("scope ", scope, ": without a process"));
  UnitProperties properties = Common("Berth container", limits);
  properties.push_back({"Slice", std::string(Base(ParentOf(scope)))});
  properties.push_back({"Delegate", true});
  properties.push_back({"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(shim)}});
  // A scope that ended badly would otherwise stay, and its name with it.
  properties.push_back({"CollectMode", std::string("inactive-or-failed")});
  // Containers are stopped by Berth, in order, and not by systemd before that.
  properties.push_back({"DefaultDependencies", false});
  const Context context = Context::WithTimeoutMs(kTotalMs);
  RETURN_IF_ERROR(StartScope(context, scope, properties, shim));
  return Settle(shim, scope);
}

Status SystemdCgroupDriver::MakeSlice(const std::string& slice, const UnitProperties& limits) {
  const std::string unit(Base(slice));
  const Context context = Context::WithTimeoutMs(kTotalMs);
  const UnitProperties properties = Common("Berth pods", limits);
  while (true) {
    Status status = bus_->Start(context, unit, properties);
    // Systemd makes the slices that a scope needs by itself.
    if (status.code() == Code::kAlreadyExists) {
      status = bus_->SetProperties(context, unit, properties);
    }
    if (status.code() != Code::kUnavailable || context.RemainingMs() == 0) return status;
    usleep(kRetryMs * 1000);
  }
}

Status SystemdCgroupDriver::Create(const std::string& path, const LinuxResources& resources,
                                   const std::vector<DeviceRule>& devices, int32_t shim) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  auto nothing = [](std::string_view, const std::string&) { return std::optional<std::string>(); };
  ASSIGN_OR_RETURN(auto settings, V2Settings(resources, /*creating=*/true, nothing));
  const UnitProperties limits = PropertiesOf(settings);
  if (const std::string_view scope = ScopeOf(path); !scope.empty()) {
    RETURN_IF_ERROR(MakeScope(std::string(scope), limits, shim));
  } else {
    RETURN_IF_ERROR(MakeSlice(path, limits));
  }
  // Whoever made the shim ends it now, and with it goes its scope.
  return files_->Create(path, resources, devices, shim);
}

Status SystemdCgroupDriver::TellUnit(const std::string& unit_path,
                                     const UnitProperties& properties) {
  if (properties.empty()) return Ok();
  return bus_->SetProperties(Context::WithTimeoutMs(kTotalMs), std::string(Base(unit_path)),
                             properties);
}

Status SystemdCgroupDriver::RestoreUnit(const std::string& unit_path, UnitProperties former) {
  ASSIGN_OR_RETURN(UniqueFd dir, OpenCgroup(root_.get(), unit_path.substr(1)));
  Status in_use;
  std::erase_if(former, [&](const UnitProperty& property) {
    if (property.name != "MemoryMax") return false;
    const auto limit = std::get<uint64_t>(property.value);
    if (limit != kUnitInfinity) in_use = CheckMemoryInUse(dir.get(), static_cast<int64_t>(limit));
    return !in_use.ok();
  });
  Status told = TellUnit(unit_path, former);
  return in_use.ok() ? told : in_use;
}

Status SystemdCgroupDriver::Update(const std::string& path, const LinuxResources& resources) {
  ASSIGN_OR_RETURN(auto settings, SettingsFor(path, resources), "update cgroup ", path);
  ASSIGN_OR_RETURN(FormerLimits former, LimitsBefore(path, resources), "update ", path);
  RETURN_IF_ERROR(files_->Update(path, resources));
  Status told = TellUnit(UnitPathOf(path), PropertiesOf(settings));
  if (told.ok()) return told;
  // An answer that is lost says nothing about what has been done: the unit, too.
  UndoStack undo;
  undo.Add("limits", [&] { return Restore(path, former); });
  return undo.Fail(std::move(told).error().Wrap(StrCat("update cgroup ", path)));
}

Result<std::vector<CgroupSetting>> SystemdCgroupDriver::SettingsFor(
    const std::string& path, const LinuxResources& resources) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  ASSIGN_OR_RETURN(UniqueFd dir, OpenCgroup(root_.get(), path.substr(1)));
  return V2Settings(resources, /*creating=*/false, [&](std::string_view, const std::string& file) {
    return ReadCgroupFile(dir.get(), file);
  });
}

Result<FormerLimits> SystemdCgroupDriver::LimitsBefore(const std::string& path,
                                                       const LinuxResources& resources) const {
  ASSIGN_OR_RETURN(auto settings, SettingsFor(path, resources), "cgroup ", path);
  ASSIGN_OR_RETURN(FormerLimits former, files_->LimitsBefore(path, resources));
  ASSIGN_OR_RETURN(UniqueFd unit, OpenCgroup(root_.get(), UnitPathOf(path).substr(1)), "cgroup ",
                   path);
  // The unit's own files say what its properties are.
  for (const CgroupSetting& setting : settings) {
    auto value = ReadCgroupFile(unit.get(), setting.file);
    if (value) former.unit.push_back({setting.controller, setting.file, std::move(value)});
  }
  return former;
}

Status SystemdCgroupDriver::Restore(const std::string& path, const FormerLimits& former) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  std::vector<CgroupSetting> held;
  for (const FormerSetting& one : former.unit) {
    held.push_back({one.controller, one.file, one.value.value_or("")});
  }
  UndoStack both;
  both.Add("limits", [&] { return files_->Restore(path, former); });
  both.Add("unit", [&] { return RestoreUnit(UnitPathOf(path), PropertiesOf(held)); });
  return both.Run();
}

Status SystemdCgroupDriver::Remove(const std::string& path) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  if (!path.ends_with(kSliceSuffix)) return files_->Remove(path);
  return bus_->Stop(Context::WithTimeoutMs(kTotalMs), std::string(Base(path)));
}

Result<std::vector<std::string>> SystemdCgroupDriver::List(const std::string& parent_path) const {
  ASSIGN_OR_RETURN(auto all, files_->List(parent_path));
  std::vector<std::string> paths;
  for (const std::string& path : all) {
    if (path.ends_with(kSliceSuffix)) paths.push_back(path);
    if (path.ends_with(kScopeSuffix)) paths.push_back(StrCat(path, kContainerName));
  }
  return paths;
}

}  // namespace

Result<std::unique_ptr<CgroupDriver>> NewSystemdCgroupDriver(std::unique_ptr<SystemdBus> bus,
                                                             const std::string& mount_root) {
  ASSIGN_OR_RETURN(UniqueFd root, Open(mount_root, O_PATH | O_DIRECTORY));
  ASSIGN_OR_RETURN(auto files, NewCgroupV2Driver(mount_root));
  return std::unique_ptr<CgroupDriver>(
      std::make_unique<SystemdCgroupDriver>(std::move(bus), std::move(root), std::move(files)));
}

}  // namespace berth::runtime
