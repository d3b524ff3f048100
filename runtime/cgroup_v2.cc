#include "runtime/cgroup_v2.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/time.h"
#include "runtime/cgroup_devices.h"
#include "runtime/cgroup_resources.h"
#include "runtime/cgroup_settings.h"
#include "runtime/cgroup_tree.h"

namespace berth::runtime {

namespace {

constexpr int64_t kRemoveNs = 1'000'000'000;

using Names = std::vector<std::string>;

Names ReadNames(int dir, const std::string& file) {
  Names names;
  std::string text = ReadCgroupFile(dir, file).value_or("");
  for (std::string_view name : Split(text, ' ')) {
    if (!name.empty()) names.emplace_back(name);
  }
  return names;
}

bool Has(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Names Without(const Names& names, const Names& others) {
  Names left;
  std::copy_if(names.begin(), names.end(), std::back_inserter(left),
               [&](const std::string& name) { return !Has(others, name); });
  return left;
}

// Those of an update of the cgroup whose directory that is.
Result<std::vector<CgroupSetting>> SettingsFor(int dir, const LinuxResources& resources) {
  return V2Settings(resources, /*creating=*/false, [&](std::string_view, const std::string& file) {
    return ReadCgroupFile(dir, file);
  });
}

class CgroupV2Driver final : public CgroupDriver {
 public:
  CgroupV2Driver(std::string path, UniqueFd root) : path_(std::move(path)), root_(std::move(root)) {
    for (std::string& name : ReadNames(root_.get(), "cgroup.controllers")) {
      // The others limit nothing that CRI knows, but can be asked for by `unified`.
      if (Has({"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}, name)) {
        wanted_.push_back(std::move(name));
      }
    }
  }

  CgroupVersion version() const override { return CgroupVersion::kV2; }
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
  Status EnableControllers(const std::string& relative, int leaf, const Names& needed);
  Status Fill(const std::string& relative, bool fresh, const LinuxResources& resources,
              const std::vector<DeviceRule>& devices);

  const std::string path_;
  const UniqueFd root_;
  Names wanted_;  // enabled for every container where its parents allow it
  DevicePrograms programs_;
};

// Turns controllers on from the root down to the parent. What cannot be had is an error only if it
// is needed; a parent that has processes of its own, or that kubelet keeps a controller from, says
// no.
Status CgroupV2Driver::EnableControllers(const std::string& relative, int leaf,
                                         const Names& needed) {
  Names asked = wanted_;
  for (const std::string& name : Without(needed, asked)) asked.push_back(name);
  if (Without(asked, ReadNames(leaf, "cgroup.controllers")).empty()) return Ok();
  Status refused;
  for (size_t end = 0; end != std::string::npos; end = relative.find('/', end + 1)) {
    std::string file = StrCat(end == 0 ? "." : relative.substr(0, end), "/cgroup.subtree_control");
    for (const std::string& name : Without(asked, ReadNames(root_.get(), file))) {
      // One at a time: the kernel takes a list as a whole or not at all.
      Status status = WriteFileAt(root_.get(), file, "+" + name);
      if (!status.ok() && Has(needed, name) && refused.ok()) refused = std::move(status);
    }
  }
  Names lacking = needed.empty() ? Names() : Without(needed, ReadNames(leaf, "cgroup.controllers"));
  if (lacking.empty()) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat("the ", lacking.front(), " controller cannot be enabled",
                      refused.ok() ? "" : ": ", refused.ok() ? "" : refused.error().message()));
}

Status CgroupV2Driver::Fill(const std::string& relative, bool fresh,
                            const LinuxResources& resources,
                            const std::vector<DeviceRule>& devices) {
  ASSIGN_OR_RETURN(DevicePolicy policy, MakeDevicePolicy(devices));
  ASSIGN_OR_RETURN(UniqueFd dir, OpenCgroup(root_.get(), relative));
  auto read = [&](std::string_view, const std::string& file) {
    return ReadCgroupFile(dir.get(), file);
  };
  ASSIGN_OR_RETURN(auto settings, V2Settings(resources, /*creating=*/true, read));
  Names needed;
  for (const CgroupSetting& setting : settings) {
    if (!setting.optional && !Has(needed, setting.controller)) needed.push_back(setting.controller);
  }
  RETURN_IF_ERROR(EnableControllers(relative, dir.get(), needed));
  RETURN_IF_ERROR(ApplySettings(settings, [&](std::string_view) { return dir.get(); }));
  if (devices.empty()) return Ok();
  // The program is attached to an open directory, an O_PATH descriptor will not do.
  ASSIGN_OR_RETURN(UniqueFd open, OpenAt(dir.get(), ".", O_RDONLY | O_DIRECTORY));
  return programs_.Attach(open.get(), policy, fresh);
}

Status CgroupV2Driver::CheckSupported(const LinuxResources& resources) const {
  auto nothing = [](std::string_view, const std::string&) { return std::optional<std::string>(); };
  LinuxResources limits = resources;
  // What it means depends on the limit of memory, which may be set already.
  if (limits.memory_limit_bytes == 0) limits.memory_swap_limit_bytes = 0;
  ASSIGN_OR_RETURN(auto settings, V2Settings(limits, /*creating=*/true, nothing));
  const Names present = ReadNames(root_.get(), "cgroup.controllers");
  return CheckControllers(settings, [&](std::string_view name) { return Has(present, name); });
}

Status CgroupV2Driver::Create(const std::string& path, const LinuxResources& resources,
                              const std::vector<DeviceRule>& devices, int32_t /*shim*/) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  const std::string relative = path.substr(1);
  ASSIGN_OR_RETURN(auto made,
                   MakeCgroup(root_.get(), relative, [](const std::string&) { return Ok(); }));
  Status status = Fill(relative, !made.empty(), resources, devices);
  if (status.ok()) return Ok();
  for (auto it = made.rbegin(); it != made.rend(); ++it) {
    unlinkat(root_.get(), it->c_str(), AT_REMOVEDIR);
  }
  return std::move(status).error().Wrap(StrCat("create cgroup ", path));
}

CgroupJoin CgroupV2Driver::Join(const std::string& path) const {
  CgroupJoin join;
  join.directory = path_ + path;
  if (Has(wanted_, "memory")) join.oom_file = join.directory + "/memory.events";
  join.exec_parent = join.directory;
  return join;
}

Status CgroupV2Driver::Update(const std::string& path, const LinuxResources& resources) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  ASSIGN_OR_RETURN(UniqueFd dir, OpenCgroup(root_.get(), path.substr(1)), "update cgroup ", path);
  RETURN_IF_ERROR(CheckMemoryInUse(dir.get(), resources.memory_limit_bytes), "update cgroup ",
                  path);
  ASSIGN_OR_RETURN(auto settings, SettingsFor(dir.get(), resources));
  RETURN_IF_ERROR(ReplaceSettings(settings, [&](std::string_view) { return dir.get(); }),
                  "update cgroup ", path);
  return Ok();
}

Result<FormerLimits> CgroupV2Driver::LimitsBefore(const std::string& path,
                                                  const LinuxResources& resources) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  RETURN_IF_ERROR(CheckResources(resources));
  ASSIGN_OR_RETURN(UniqueFd dir, OpenCgroup(root_.get(), path.substr(1)), "cgroup ", path);
  ASSIGN_OR_RETURN(auto settings, SettingsFor(dir.get(), resources));
  FormerLimits former;
  former.files = FormerSettings(settings, [&](std::string_view) { return dir.get(); });
  return former;
}

Status CgroupV2Driver::Restore(const std::string& path, const FormerLimits& former) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  ASSIGN_OR_RETURN(UniqueFd dir, OpenCgroup(root_.get(), path.substr(1)), "cgroup ", path);
  RETURN_IF_ERROR(RestoreSettings(former.files, [&](std::string_view) { return dir.get(); }),
                  "cgroup ", path);
  return Ok();
}

Result<UniqueFd> CgroupV2Driver::OpenDirectory(const std::string& path,
                                               std::string_view /*controller*/) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  return OpenCgroup(root_.get(), path.substr(1));
}

Result<std::vector<int32_t>> CgroupV2Driver::Processes(const std::string& path) const {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  return CgroupProcesses(root_.get(), path.substr(1));
}

Status CgroupV2Driver::Kill(const std::string& path) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  auto dir = OpenCgroup(root_.get(), path.substr(1));
  if (!dir.ok()) {
    if (dir.code() == Code::kNotFound) return Ok();
    return std::move(dir).error();
  }
  Status killed = WriteFileAt(dir->get(), "cgroup.kill", "1");
  if (killed.ok() || killed.error().sys_errno() == ENODEV) return Ok();
  // A threaded cgroup has no working cgroup.kill (EOPNOTSUPP), a kernel before 5.14 none at all.
  Status status = KillCgroupProcesses(root_.get(), path.substr(1),
                                      [&] { (void)WriteFileAt(dir->get(), "cgroup.freeze", "1"); });
  (void)WriteFileAt(dir->get(), "cgroup.freeze", "0");
  return status;
}

Status CgroupV2Driver::Remove(const std::string& path) {
  RETURN_IF_ERROR(CheckCgroupPath(path, "cgroup path"));
  return RemoveCgroup(root_.get(), path.substr(1), MonotonicNs() + kRemoveNs);
}

Result<std::vector<std::string>> CgroupV2Driver::List(const std::string& parent) const {
  RETURN_IF_ERROR(CheckCgroupPath(parent, "cgroup path"));
  ASSIGN_OR_RETURN(auto below, CgroupsBelow(root_.get(), parent.substr(1)));
  for (std::string& path : below) path.insert(path.begin(), '/');
  return below;
}

}  // namespace

Result<std::unique_ptr<CgroupDriver>> NewCgroupV2Driver(const std::string& mount_root) {
  ASSIGN_OR_RETURN(UniqueFd root, Open(mount_root, O_PATH | O_DIRECTORY));
  return std::unique_ptr<CgroupDriver>(
      std::make_unique<CgroupV2Driver>(mount_root, std::move(root)));
}

}  // namespace berth::runtime
