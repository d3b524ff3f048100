#include "runtime/cgroup.h"

#include <fcntl.h>

#include "base/file.h"
#include "runtime/cgroup_systemd.h"
#include "runtime/cgroup_v1.h"
#include "runtime/cgroup_v2.h"

namespace berth::runtime {

namespace {

constexpr char kMountRoot[] = "/sys/fs/cgroup";

// Options of a v1 superblock that are not controllers.
bool IsController(std::string_view option) {
  return option != "rw" && option != "ro" && option != "xattr" && option != "clone_children" &&
         option != "noprefix" && !option.starts_with("release_agent=");
}

// A line of mountinfo (proc(5)): "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu".
// Fills in path and controllers if it is a v1 hierarchy below `mount_root`.
bool ParseV1Mount(std::string_view line, std::string_view mount_root, CgroupV1Hierarchy& out) {
  size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return false;
  auto fields = Split(line.substr(0, dash), ' ');
  auto source = Split(line.substr(dash + 3), ' ');
  if (fields.size() < 6 || source.size() < 3 || source[0] != "cgroup") return false;
  std::string_view path = fields[4];
  if (!path.starts_with(mount_root) || path.substr(mount_root.size()).substr(0, 1) != "/") {
    return false;
  }
  out.path = path;
  for (std::string_view option : Split(source[2], ',')) {
    if (IsController(option)) out.controllers.emplace_back(option);
  }
  return !out.controllers.empty();
}

}  // namespace

Result<std::unique_ptr<CgroupDriver>> NewCgroupfsDriver(const std::string& mount_root) {
  ASSIGN_OR_RETURN(bool unified, Exists(mount_root + "/cgroup.controllers"));
  if (unified) return NewCgroupV2Driver(mount_root);

  std::vector<CgroupV1Hierarchy> hierarchies;
  ASSIGN_OR_RETURN(std::string mounts, ReadFile("/proc/self/mountinfo"));
  for (std::string_view line : Split(mounts, '\n')) {
    CgroupV1Hierarchy found;
    if (!ParseV1Mount(line, mount_root, found)) continue;
    bool known = false;
    for (const auto& other : hierarchies) known |= other.controllers == found.controllers;
    if (known) continue;
    ASSIGN_OR_RETURN(found.root, Open(found.path, O_PATH | O_DIRECTORY));
    hierarchies.push_back(std::move(found));
  }
  if (hierarchies.empty()) {
    return Error(Code::kFailedPrecondition,
                 StrCat("no cgroup hierarchy is mounted at or below ", mount_root));
  }
  auto beside = Open(mount_root + "/unified", O_PATH | O_DIRECTORY);
  ASSIGN_OR_RETURN(bool hybrid, Exists(mount_root + "/unified/cgroup.controllers"));
  return NewCgroupV1Driver(std::move(hierarchies),
                           hybrid && beside.ok() ? *std::move(beside) : UniqueFd());
}

Result<std::unique_ptr<CgroupDriver>> NewCgroupDriver(const std::string& name) {
  ASSIGN_OR_RETURN(bool unified, Exists(StrCat(kMountRoot, "/cgroup.controllers")));
  const bool possible = unified && SystemdRuns();
  if (name == "cgroupfs" || (name == "auto" && !possible)) return NewCgroupfsDriver();
  if (!possible) {
    return Error(Code::kFailedPrecondition,
                 StrCat("cgroup.driver: \"systemd\" needs ",
                        unified ? "systemd as process 1" : "cgroup v2 alone at ",
                        unified ? "" : kMountRoot, "; use \"auto\" or \"cgroupfs\""));
  }
  ASSIGN_OR_RETURN(auto bus, SystemdBus::Connect(), "cgroup.driver \"systemd\"");
  return NewSystemdCgroupDriver(std::move(bus), kMountRoot);
}

}  // namespace berth::runtime
