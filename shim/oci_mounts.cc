#include "shim/oci_mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "base/file.h"
#include "shim/rootfs_in_child.h"

namespace berth::shim {

namespace {

constexpr char kUnifiedHierarchy[] = "/sys/fs/cgroup/unified";

Result<struct statx> MountOf(const std::string& path) {
  struct statx info {};
  if (statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &info) != 0) {
    return ErrnoError(Printable(path));
  }
  return info;
}

// Where the mount is attached that has the path.
Result<std::string> MountPointOf(const std::string& path) {
  char real[PATH_MAX];
  if (realpath(path.c_str(), real) == nullptr) return ErrnoError(Printable(path));
  std::string point = real;
  while (point != "/") {
    ASSIGN_OR_RETURN(const auto info, MountOf(point));
    if ((info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return point;
    point.resize(std::max<size_t>(point.rfind('/'), 1));
  }
  return point;
}

Status MakeSlave(const std::string& point, unsigned long recursive) {
  if (mount(nullptr, point.c_str(), nullptr, MS_SLAVE | recursive, nullptr) != 0) {
    return ErrnoError(StrCat("make ", point, " a slave"));
  }
  return Ok();
}

// All mounts become slaves of the host's; if the container shares some, only those do on which
// something is going to be attached.
Status PartFromHost(const wire::LaunchPlan& plan, const std::string& directory) {
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError("unshare mount namespace");
  auto is_shared = [](const wire::MountPlan& mount) { return mount.propagation == MS_SHARED; };
  if (std::none_of(plan.mounts.begin(), plan.mounts.end(), is_shared)) {
    return MakeSlave("/", MS_REC);
  }
  ASSIGN_OR_RETURN(const auto own, MountOf(directory));
  for (const wire::MountPlan& shared : plan.mounts) {
    if (!is_shared(shared)) continue;
    ASSIGN_OR_RETURN(const auto source, MountOf(shared.source));
    if (source.stx_mnt_id != own.stx_mnt_id) continue;
    return Error(Code::kFailedPrecondition,
                 StrCat("mount ", Printable(shared.destination), ": \"", Printable(shared.source),
                        "\" is on the mount of ", directory,
                        ", and such a one cannot be shared with an OCI runtime's container"));
  }
  ASSIGN_OR_RETURN(const std::string point, MountPointOf(directory));
  return MakeSlave(point, 0);
}

// On a machine with both versions of cgroups containers are in those of version 1, and some of the
// runtimes (crun) start none while the other hierarchy has controllers, or leave directories there.
Status HideUnifiedHierarchy() {
  struct statfs fs {};
  if (statfs(kUnifiedHierarchy, &fs) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC) return Ok();
  RETURN_IF_ERROR(MakeSlave(kUnifiedHierarchy, 0));
  if (mount("none", kUnifiedHierarchy, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0)
    return ErrnoError(StrCat("hide ", kUnifiedHierarchy));
  return Ok();
}

// On a name of the working directory: a descriptor's directory is still in the former namespace.
Status AttachAs(int mount, const std::string& name) {
  if (move_mount(mount, "", AT_FDCWD, name.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError(StrCat("attach ", name));
  }
  return Ok();
}

Status AttachImages(std::vector<wire::MountPlan> mounts, int bundle,
                    std::vector<UniqueFd>& images) {
  std::erase_if(mounts, [](const auto& mount) { return mount.kind != wire::MountKind::kImage; });
  ASSIGN_OR_RETURN(auto sources, OpenSources(mounts, images));
  RETURN_IF_ERROR(SelectImageParts(mounts, sources));
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string name = StrCat(wire::kOciImagePrefix, i);
    ASSIGN_OR_RETURN(const TargetKind kind, KindOf(sources[i].get()));
    RETURN_IF_ERROR(kind == TargetKind::kDirectory ? MakeDirAt(bundle, name, 0755)
                                                   : AtomicWriteFileAt(bundle, name, "", 0644));
    RETURN_IF_ERROR(AttachAs(sources[i].get(), name), "mount ", Printable(mounts[i].destination));
  }
  return Ok();
}

}  // namespace

Status MountForOciRuntime(const wire::LaunchPlan& plan, const std::string& directory, int bundle,
                          int rootfs, std::vector<UniqueFd>& images) {
  RETURN_IF_ERROR(PartFromHost(plan, directory));
  RETURN_IF_ERROR(HideUnifiedHierarchy());
  if (chdir(directory.c_str()) != 0) return ErrnoError(StrCat("chdir ", directory));
  RETURN_IF_ERROR(AttachImages(plan.mounts, bundle, images));
  RETURN_IF_ERROR(MakeDirAt(bundle, wire::kOciRootName, 0755));
  RETURN_IF_ERROR(AttachAs(rootfs, wire::kOciRootName));
  return Ok();
}

}  // namespace berth::shim
