#include "runtime/cgroup_v1.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/file.h"
#include "base/sync.h"
#include "base/time.h"
#include "base/undo.h"
#include "runtime/cgroup_devices.h"
#include "runtime/cgroup_resources.h"
#include "runtime/cgroup_settings.h"
#include "runtime/cgroup_tree.h"

namespace berth::runtime {

namespace {

constexpr int64_t kRemoveNs = 1'000'000'000;

// A v1 cpuset is born empty, and nothing can join it before it has processors and memory nodes. It
// gets its parent's; so do parents that somebody left empty.
Status InheritCpuset(int root, const std::string& path) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    auto inherited = ReadCgroupFile(root, file);
    std::string prefix;
    for (std::string_view part : Split(path, '/')) {
      prefix = prefix.empty() ? std::string(part) : StrCat(prefix, "/", part);
      std::string name = StrCat(prefix, "/", file);
      auto own = ReadCgroupFile(root, name);
      if (own && own->empty() && inherited) RETURN_IF_ERROR(WriteFileAt(root, name, *inherited));
      if (own && !own->empty()) inherited = std::move(own);
    }
  }
  return Ok();
}

Status WriteDeviceRules(int root, const std::string& path, const DevicePolicy& policy) {
  const char* wide = policy.default_allow ? "devices.allow" : "devices.deny";
  const char* narrow = policy.default_allow ? "devices.deny" : "devices.allow";
  RETURN_IF_ERROR(WriteFileAt(root, StrCat(path, "/", wide), "a"));
  if (policy.exceptions.empty()) return Ok();
  ASSIGN_OR_RETURN(UniqueFd file, OpenAt(root, StrCat(path, "/", narrow), O_WRONLY));
  for (const DeviceRule& rule : policy.exceptions) {
    // One write(2) a rule: the kernel takes no more.
    std::string line = V1DeviceLine(rule);
    if (write(file.get(), line.data(), line.size()) < 0) {
      return ErrnoError(StrCat("write \"", line, "\" to ", narrow));
    }
  }
  return Ok();
}

CgroupReader ReaderOf(const CgroupDirectoryOf& directories) {
  return [&directories](std::string_view controller, const std::string& file) {
    const int dir = directories(controller);
    return dir < 0 ? std::nullopt : ReadCgroupFile(dir, file);
  };
}

class CgroupV1Driver final : public CgroupDriver {
 public:
  CgroupV1Driver(std::vector<CgroupV1Hierarchy> hierarchies, UniqueFd unified)
      : hierarchies_(std::move(hierarchies)), unified_(std::move(unified)) {
    for (const auto& hierarchy : hierarchies_) {
      for (const std::string& controller : hierarchy.controllers) {
        by_controller_.emplace(controller, &hierarchy);
      }
    }
    const CgroupV1Hierarchy* pids = Find("pids");
    members_ = pids != nullptr ? pids : &hierarchies_.front();
  }

  CgroupVersion version() const override { return CgroupVersion::kV1; }
  Result<std::string> ParentPath(const std::string& parent) const override {
    RETURN_IF_ERROR(CheckCgroupPath(parent, "cgroup_parent"));
    return parent;
  }
  Status CheckSupported(const LinuxResources& resources) const override;
  Status Create(const std::string& path, const LinuxResources& resources,
                const std::vector<DeviceRule>& devices, int32_t shim) override;
  CgroupJoin Join(const std::string& path) const override;
  Status Update(const std::string& path, const LinuxResources& resources) override;
  Result<FormerLimits> LimitsBefore(const std::string& path,
                                    const LinuxResources& resources) const override;
  Status Restore(const std::string& path, const FormerLimits& former) override;
  Result<UniqueFd> OpenDirectory(const std::string& path,
                                 std::string_view controller) const override;
  Result<std::vector<int32_t>> Processes(const std::string& path) const override;
  Status Kill(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& parent) const override;

 private:
  const CgroupV1Hierarchy* Find(std::string_view controller) const {
    auto it = by_controller_.find(controller);
    return it == by_controller_.end() ? nullptr : it->second;
  }
  Status MakeDirectories(const std::string& relative, UndoStack& undo);
  // Where a cgroup's files are, each hierarchy opened at its first use. -1 if it is not there.
  CgroupDirectoryOf DirectoriesOf(const std::string& relative) const;

  const std::vector<CgroupV1Hierarchy> hierarchies_;
  const UniqueFd unified_;
  std::map<std::string, const CgroupV1Hierarchy*, std::less<>> by_controller_;
  const CgroupV1Hierarchy* members_;  // the one that execs make cgroups in
  // Directories are made one at a time, so that nobody makes one in a parent that has no processors
  // yet.
  Mutex making_;
};

Status CgroupV1Driver::MakeDirectories(const std::string& relative, UndoStack& undo) {
  MutexLock lock(making_);
  const CgroupV1Hierarchy* cpuset = Find("cpuset");
  for (const CgroupV1Hierarchy& hierarchy : hierarchies_) {
    const int root = hierarchy.root.get();
    auto prepare = [&](const std::string& made) {
      return &hierarchy == cpuset ? InheritCpuset(root, made) : Ok();
    };
    ASSIGN_OR_RETURN(auto made, MakeCgroup(root, relative, prepare), hierarchy.path);
    undo.Add("make cgroup", [root, made = std::move(made)] {
      for (auto it = made.rbegin(); it != made.rend(); ++it) {
        unlinkat(root, it->c_str(), AT_REMOVEDIR);
      }
      return Ok();
    });
  }
  return Ok();
}

CgroupDirectoryOf CgroupV1Driver::DirectoriesOf(const std::string& relative) const {
  auto open = std::make_shared<std::map<const CgroupV1Hierarchy*, UniqueFd>>();
  return [this, relative, open](std::string_view controller) {
    const CgroupV1Hierarchy* hierarchy = Find(controller);
    if (hierarchy == nullptr) return -1;
    UniqueFd& fd = (*open)[hierarchy];
    if (!fd.ok()) {
      auto opened = OpenCgroup(hierarchy->root.get(), relative);
      if (opened.ok()) fd = *std::move(opened);
    }
    return fd.get();
  };
}

Status CgroupV1Driver::CheckSupported(const LinuxResources& resources) const {
  auto nothing = [](std::string_view, const std::string&) { return std::optional<std::string>(); };
  ASSIGN_OR_RETURN(auto settings, V1Settings(resources, nothing));
  return CheckControllers(settings, [&](std::string_view name) { return Find(name) != nullptr; });
}

Status CgroupV1Driver::Create(const std::string& path, const LinuxResources& resources,
                              const std::vector<DeviceRule>& devices, int32_t /*shim*/) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  ASSIGN_OR_RETURN(DevicePolicy policy, MakeDevicePolicy(devices));
  const std::string relative = path.substr(1);
  UndoStack undo;
  RETURN_IF_ERROR(MakeDirectories(relative, undo), "create cgroup ", path);
  const CgroupDirectoryOf directories = DirectoriesOf(relative);
  ASSIGN_OR_RETURN(auto settings, V1Settings(resources, ReaderOf(directories)));
  RETURN_IF_ERROR(ApplySettings(settings, directories), "create cgroup ", path);
  const CgroupV1Hierarchy* devices_at = Find("devices");
  if (!devices.empty()) {
    if (devices_at == nullptr) {
      return Error(Code::kFailedPrecondition,
                   StrCat("create cgroup ", path, ": the devices cgroup controller is missing"));
    }
    RETURN_IF_ERROR(WriteDeviceRules(devices_at->root.get(), relative, policy), "create cgroup ",
                    path);
  }
  undo.Commit();
  return Ok();
}

CgroupJoin CgroupV1Driver::Join(const std::string& path) const {
  CgroupJoin join;
  for (const CgroupV1Hierarchy& hierarchy : hierarchies_) {
    join.tasks_files.push_back(StrCat(hierarchy.path, path, "/tasks"));
  }
  if (const auto* memory = Find("memory")) {
    join.oom_file = StrCat(memory->path, path, "/memory.oom_control");
  }
  join.exec_parent = members_->path + path;
  return join;
}

Status CgroupV1Driver::Update(const std::string& path, const LinuxResources& resources) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  const std::string relative = path.substr(1);
  RETURN_IF_ERROR(OpenCgroup(members_->root.get(), relative), "update cgroup ", path);
  const CgroupDirectoryOf directories = DirectoriesOf(relative);
  ASSIGN_OR_RETURN(auto settings, V1Settings(resources, ReaderOf(directories)));
  RETURN_IF_ERROR(ReplaceSettings(settings, directories), "update cgroup ", path);
  return Ok();
}

Result<FormerLimits> CgroupV1Driver::LimitsBefore(const std::string& path,
                                                  const LinuxResources& resources) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  const std::string relative = path.substr(1);
  RETURN_IF_ERROR(OpenCgroup(members_->root.get(), relative), "cgroup ", path);
  const CgroupDirectoryOf directories = DirectoriesOf(relative);
  ASSIGN_OR_RETURN(auto settings, V1Settings(resources, ReaderOf(directories)));
  FormerLimits former;
  former.files = FormerSettings(settings, directories);
  return former;
}

Status CgroupV1Driver::Restore(const std::string& path, const FormerLimits& former) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  const std::string relative = path.substr(1);
  RETURN_IF_ERROR(OpenCgroup(members_->root.get(), relative), "cgroup ", path);
  RETURN_IF_ERROR(RestoreSettings(former.files, DirectoriesOf(relative)), "cgroup ", path);
  return Ok();
}

Result<UniqueFd> CgroupV1Driver::OpenDirectory(const std::string& path,
                                               std::string_view controller) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  const CgroupV1Hierarchy* hierarchy = Find(controller);
  if (hierarchy == nullptr) {
    return Error(Code::kNotFound, StrCat("no cgroup controller ", controller, " on this machine"));
  }
  return OpenCgroup(hierarchy->root.get(), path.substr(1));
}

Result<std::vector<int32_t>> CgroupV1Driver::Processes(const std::string& path) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  return CgroupProcesses(members_->root.get(), path.substr(1));
}

Status CgroupV1Driver::Kill(const std::string& path) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  const std::string relative = path.substr(1);
  const CgroupV1Hierarchy* freezer = Find("freezer");
  auto set_state = [&](const char* state) {
    if (freezer != nullptr) {
      (void)WriteFileAt(freezer->root.get(), relative + "/freezer.state", state);
    }
  };
  Status status = KillCgroupProcesses(members_->root.get(), relative, [&] { set_state("FROZEN"); });
  // A frozen process, whoever froze it, takes its signal only once it thaws.
  set_state("THAWED");
  return status;
}

Status CgroupV1Driver::Remove(const std::string& path) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  const int64_t deadline_ns = MonotonicNs() + kRemoveNs;
  for (const CgroupV1Hierarchy& hierarchy : hierarchies_) {
    RETURN_IF_ERROR(RemoveCgroup(hierarchy.root.get(), path.substr(1), deadline_ns),
                    hierarchy.path);
  }
  return unified_.ok() ? RemoveCgroup(unified_.get(), path.substr(1), deadline_ns) : Ok();
}

Result<std::vector<std::string>> CgroupV1Driver::List(const std::string& parent) const {
  RETURN_IF_ERROR(CheckCgroupPath(parent, "cgroup path"));
  // A removal that was cut short leaves a cgroup in some hierarchies only.
  std::set<std::string> all;
  for (const CgroupV1Hierarchy& hierarchy : hierarchies_) {
    ASSIGN_OR_RETURN(auto below, CgroupsBelow(hierarchy.root.get(), parent.substr(1)));
    for (const std::string& path : below) all.insert("/" + path);
  }
  if (unified_.ok()) {
    ASSIGN_OR_RETURN(auto below, CgroupsBelow(unified_.get(), parent.substr(1)));
    for (const std::string& path : below) all.insert("/" + path);
  }
  return std::vector<std::string>(all.begin(), all.end());
}

}  // namespace

std::unique_ptr<CgroupDriver> NewCgroupV1Driver(std::vector<CgroupV1Hierarchy> hierarchies,
                                                UniqueFd unified) {
  return std::make_unique<CgroupV1Driver>(std::move(hierarchies), std::move(unified));
}

}  // namespace berth::runtime
