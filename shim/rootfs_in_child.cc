#include "shim/rootfs_in_child.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <deque>

#include "base/file.h"
#include "shim/hooks.h"
#include "shim/stdio.h"
#include "shim/user_namespace.h"

namespace berth::shim {

namespace {

using wire::LaunchPlan;
using wire::MountKind;
using wire::MountPlan;

constexpr int kMaxSymlinks = 40;  // as the kernel's own limit, path_resolution(7)

Status SetAttributes(int mount, uint64_t set, uint64_t propagation, bool recursive) {
  if (set == 0 && propagation == 0) return Ok();
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.propagation = propagation;
  unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);
  if (mount_setattr(mount, "", flags, &attributes, sizeof attributes) != 0) {
    return ErrnoError("mount_setattr");
  }
  return Ok();
}

Status Attach(int mount, int target) {
  if (move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return ErrnoError("attach mount");
  }
  return Ok();
}

Result<UniqueFd> CloneMount(int at, bool recursive) {
  UniqueFd copy(open_tree(
      at, "",
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U)));
  if (!copy.ok()) return ErrnoError("open_tree");
  return copy;
}

Status LabelRoot(int mount, const std::string& label) {
  ASSIGN_OR_RETURN(auto root, OpenAt(mount, ".", O_RDONLY | O_DIRECTORY));
  if (fsetxattr(root.get(), "security.selinux", label.c_str(), label.size() + 1, 0) != 0) {
    return ErrnoError("set SELinux label");
  }
  return Ok();
}

Result<UniqueFd> NewFilesystem(const MountPlan& plan) {
  UniqueFd context(fsopen(plan.fstype.c_str(), FSOPEN_CLOEXEC));
  if (!context.ok()) return ErrnoError(StrCat("fsopen ", plan.fstype));
  if (!plan.source.empty()) {
    fsconfig(context.get(), FSCONFIG_SET_STRING, "source", plan.source.c_str(), 0);
  }
  for (const std::string& option : plan.options) {
    size_t equals = option.find('=');
    int failed =
        equals == std::string::npos
            ? fsconfig(context.get(), FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0)
            : fsconfig(context.get(), FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                       option.substr(equals + 1).c_str(), 0);
    if (failed != 0) return ErrnoError(StrCat("mount option ", Printable(option)));
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return ErrnoError(StrCat("create ", plan.fstype));
  }
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(plan.attributes)));
  if (!mount.ok()) return ErrnoError(StrCat("fsmount ", plan.fstype));
  if (!plan.root_label.empty())
    RETURN_IF_ERROR(LabelRoot(mount.get(), plan.root_label), plan.fstype);
  return mount;
}

// The directory or file `path` in a mount that is attached nowhere yet, as a mount of its own.
// Copying a part takes a place in the mount namespace: for a moment it is on the working directory.
Result<UniqueFd> Subtree(int mount, const std::string& path) {
  if (move_mount(mount, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError("attach image");
  }
  auto part = OpenInRoot(mount, path, O_PATH);
  Result<UniqueFd> copy = part.ok() ? CloneMount(part->get(), false) : std::move(part);
  if (umount2(FdPath(mount).c_str(), MNT_DETACH) != 0) return ErrnoError("detach image");
  return copy;
}

Status MountOne(int root, const MountPlan& plan, int source) {
  if (plan.kind != MountKind::kFilesystem) {
    ASSIGN_OR_RETURN(TargetKind kind, KindOf(source));
    ASSIGN_OR_RETURN(auto target, EnsureTarget(root, plan.destination, kind));
    return Attach(source, target.get());
  }
  ASSIGN_OR_RETURN(auto made, EnsureTarget(root, plan.destination, TargetKind::kDirectory));
  // A symlink of the image must not move /proc or /sys elsewhere: what looks like the masked one
  // would be another (CVE-2019-19921, CVE-2023-27561).
  ASSIGN_OR_RETURN(auto target,
                   OpenNoSymlinks(root, plan.destination.substr(1), O_PATH | O_DIRECTORY));
  ASSIGN_OR_RETURN(auto mount, NewFilesystem(plan));
  return Attach(mount.get(), target.get());
}

// In a user namespace a device stays its host owner's, as it would with a bind mount: what the mode
// grants to all is what the container gets, and its root is not the host's.
Status MakeDevice(int root, const wire::DevicePlan& device, bool in_user_namespace) {
  size_t slash = device.path.rfind('/');
  std::string name = device.path.substr(slash + 1);
  ASSIGN_OR_RETURN(auto parent,
                   EnsureTarget(root, device.path.substr(0, slash), TargetKind::kDirectory));
  const dev_t number = makedev(device.major, device.minor);
  if (mknodat(parent.get(), name.c_str(), device.mode, number) != 0) {
    if (errno != EEXIST) return ErrnoError("mknod");
    // There already, because the host's /dev is mounted here: fine if it is the same device.
    struct stat info {};
    if (fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError("stat");
    const bool same = (info.st_mode & S_IFMT) == (device.mode & S_IFMT) && info.st_rdev == number;
    return same ? Ok() : Status(ErrnoError(EEXIST, "another file is there"));
  }
  if ((device.uid != 0 || device.gid != 0 || in_user_namespace) &&
      fchownat(parent.get(), name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("chown");
  }
  return Ok();
}

// The links that every program expects (runtime-spec config-linux.md, "Default Devices" and dev
// symbolic links).
Status LinkDevices(int root) {
  auto dev = OpenNoSymlinks(root, "dev", O_PATH | O_DIRECTORY);
  if (!dev.ok()) return Ok();  // an image without /dev, and no mount there: nothing to link
  constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},
                                       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"},
                                       {"/proc/self/fd/2", "stderr"},
                                       {"pts/ptmx", "ptmx"}};
  for (const auto& link : kLinks) {
    if (symlinkat(link[0], dev->get(), link[1]) != 0 && errno != EEXIST && errno != EROFS) {
      return ErrnoError(StrCat("link /dev/", link[1]));
    }
  }
  return Ok();
}

// /dev/null, checked to be the real one: it is what masked files are covered with (CVE-2025-31133).
Result<UniqueFd> OpenNullDevice(int root) {
  ASSIGN_OR_RETURN(auto null, OpenNoSymlinks(root, "dev/null", O_PATH));
  struct stat info {};
  if (fstat(null.get(), &info) != 0) return ErrnoError("stat /dev/null");
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    return Error(Code::kFailedPrecondition, "/dev/null is not the null device");
  }
  return null;
}

Status MaskPaths(int root, const std::vector<std::string>& paths) {
  UniqueFd empty;  // one empty, read-only tmpfs covers every masked directory
  UniqueFd null;
  for (const std::string& path : paths) {
    auto target = OpenInRoot(root, path, O_PATH);
    if (!target.ok()) {
      if (target.error().sys_errno() == ENOENT || target.error().sys_errno() == ENOTDIR) continue;
      return std::move(target).error();
    }
    ASSIGN_OR_RETURN(TargetKind kind, KindOf(target->get()));
    UniqueFd& cover = kind == TargetKind::kDirectory ? empty : null;
    if (!cover.ok() && kind == TargetKind::kDirectory) {
      MountPlan tmpfs;
      tmpfs.fstype = "tmpfs";
      tmpfs.options = {"size=0k", "nr_inodes=2"};
      tmpfs.attributes =
          MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
      ASSIGN_OR_RETURN(empty, NewFilesystem(tmpfs));
    } else if (!cover.ok()) {
      ASSIGN_OR_RETURN(null, OpenNullDevice(root), "mask ", path);
    }
    ASSIGN_OR_RETURN(auto copy, CloneMount(cover.get(), false), "mask ", path);
    RETURN_IF_ERROR(Attach(copy.get(), target->get()), "mask ", path);
  }
  return Ok();
}

Status MakeReadonly(int root, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    auto target = OpenInRoot(root, path, O_PATH);
    if (!target.ok()) {
      if (target.error().sys_errno() == ENOENT || target.error().sys_errno() == ENOTDIR) continue;
      return std::move(target).error();
    }
    // A place that is a mount already is changed as it is; any other becomes a mount of its own.
    if (SetAttributes(target->get(), MOUNT_ATTR_RDONLY, 0, true).ok()) continue;
    ASSIGN_OR_RETURN(auto copy, CloneMount(target->get(), true), "make read-only ", path);
    RETURN_IF_ERROR(SetAttributes(copy.get(), MOUNT_ATTR_RDONLY, 0, true), path);
    RETURN_IF_ERROR(Attach(copy.get(), target->get()), "make read-only ", path);
  }
  return Ok();
}

Status PivotInto(int root) {
  if (fchdir(root) != 0) return ErrnoError("fchdir");
  // The old root ends up mounted over the new one, and "." is then the old one (pivot_root(2)).
  if (syscall(SYS_pivot_root, ".", ".") != 0) return ErrnoError("pivot_root");
  if (umount2(".", MNT_DETACH) != 0) return ErrnoError("unmount old root");
  if (chdir("/") != 0) return ErrnoError("chdir /");
  return Ok();
}

// One step of EnsureTarget: `name` does not exist below `parent`. A dangling symlink is replaced by
// what it points to at the head of `left`; anything else is created.
Status CreateMissing(int parent, const std::string& name, TargetKind kind,
                     std::deque<std::string>& left, std::string& done) {
  char link[PATH_MAX];
  ssize_t length = readlinkat(parent, name.c_str(), link, sizeof link);
  if (length > 0) {
    std::string_view to(link, static_cast<size_t>(length));
    if (to.starts_with('/')) done.clear();
    auto parts = Split(to, '/');
    for (auto it = parts.rbegin(); it != parts.rend(); ++it) {
      if (!it->empty() && *it != ".") left.emplace_front(*it);
    }
    return Ok();
  }
  if (kind == TargetKind::kDirectory) {
    if (mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST) return ErrnoError("mkdir");
  } else {
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    ASSIGN_OR_RETURN(auto file, OpenAt(parent, name, flags, 0644));
  }
  done = StrCat(done, "/", name);
  return Ok();
}

}  // namespace

Result<UniqueFd> EnsureTarget(int root, const std::string& path, TargetKind kind) {
  auto whole = OpenInRoot(root, path.empty() ? "/" : path, O_PATH);
  if (whole.ok() || whole.error().sys_errno() != ENOENT) return whole;

  std::deque<std::string> left;
  for (std::string_view part : Split(path, '/')) {
    if (!part.empty() && part != ".") left.emplace_back(part);
  }
  std::string done;  // exists; resolved inside the root whenever it is opened
  for (int steps = 0; !left.empty(); ++steps) {
    if (steps > PATH_MAX / 2 + kMaxSymlinks) return ErrnoError(ELOOP, Printable(path));
    std::string name = std::move(left.front());
    left.pop_front();
    std::string candidate = StrCat(done, "/", name);
    auto found = OpenInRoot(root, candidate, O_PATH);
    if (found.ok()) {
      done = std::move(candidate);
      continue;
    }
    if (found.error().sys_errno() != ENOENT) return found;
    ASSIGN_OR_RETURN(auto parent,
                     OpenInRoot(root, done.empty() ? "/" : done, O_PATH | O_DIRECTORY));
    TargetKind part_kind = left.empty() ? kind : TargetKind::kDirectory;
    RETURN_IF_ERROR(CreateMissing(parent.get(), name, part_kind, left, done), "create ",
                    Printable(path));
  }
  return OpenInRoot(root, done.empty() ? "/" : done, O_PATH);
}

namespace {

// The ids that the last call was for, and their namespace: mounts of one container share theirs.
class MountIds {
 public:
  Result<int> NamespaceOf(const MountPlan& plan) {
    if (!made_.ok() || plan.uids != uids_ || plan.gids != gids_) {
      ASSIGN_OR_RETURN(made_, MakeUserNamespace(plan.uids, plan.gids));
      uids_ = plan.uids;
      gids_ = plan.gids;
    }
    return made_.get();
  }

 private:
  std::vector<wire::IdRange> uids_, gids_;
  UniqueFd made_;
};

Status MapIds(int mount, const MountPlan& plan, MountIds& ids) {
  if (plan.uids.empty()) return Ok();
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  ASSIGN_OR_RETURN(int user_namespace, ids.NamespaceOf(plan));
  attributes.userns_fd = static_cast<uint64_t>(user_namespace);
  if (mount_setattr(mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0) return Ok();
  const int cause = errno;
  return ErrnoError(cause, StrCat("map the ids of host path ", Printable(plan.source),
                                  " (its file system may not support idmapped mounts)"))
      .WithCode(Code::kFailedPrecondition);
}

Result<UniqueFd> OpenBindSource(const MountPlan& plan, MountIds& ids) {
  UniqueFd source(
      open_tree(AT_FDCWD, plan.source.c_str(),
                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (plan.recursive ? AT_RECURSIVE : 0U)));
  if (!source.ok()) return ErrnoError(StrCat("host path ", Printable(plan.source)));
  RETURN_IF_ERROR(SetAttributes(source.get(), 0, plan.propagation, true));
  RETURN_IF_ERROR(SetAttributes(source.get(), plan.attributes, 0, plan.recursive_attributes));
  RETURN_IF_ERROR(MapIds(source.get(), plan, ids));
  return source;
}

}  // namespace

Result<std::vector<UniqueFd>> OpenSources(const std::vector<MountPlan>& mounts,
                                          std::vector<UniqueFd>& images) {
  std::vector<UniqueFd> sources(mounts.size());
  MountIds ids;
  size_t next_image = 0;
  for (size_t i = 0; i < mounts.size(); ++i) {
    const MountPlan& plan = mounts[i];
    if (plan.kind == MountKind::kBind) {
      ASSIGN_OR_RETURN(sources[i], OpenBindSource(plan, ids), "mount ",
                       Printable(plan.destination));
    } else if (plan.kind == MountKind::kImage) {
      if (next_image == images.size()) {
        return Error(Code::kInvalidArgument, "launch without the mount of an image");
      }
      sources[i] = std::move(images[next_image++]);
      RETURN_IF_ERROR(SetAttributes(sources[i].get(), plan.attributes, 0, false), "mount ",
                      Printable(plan.destination));
    }
  }
  return sources;
}

Result<TargetKind> KindOf(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoError("stat");
  return S_ISDIR(info.st_mode) ? TargetKind::kDirectory : TargetKind::kFile;
}

Status SelectImageParts(const std::vector<MountPlan>& mounts, std::vector<UniqueFd>& sources) {
  for (size_t i = 0; i < mounts.size(); ++i) {
    if (mounts[i].kind != MountKind::kImage || mounts[i].source.empty()) continue;
    ASSIGN_OR_RETURN(sources[i], Subtree(sources[i].get(), mounts[i].source), "mount ",
                     Printable(mounts[i].destination), ": path ", Printable(mounts[i].source),
                     " in the image");
  }
  return Ok();
}

Status BindConsoleInChild(int root, int terminal) {
  ASSIGN_OR_RETURN(auto target, EnsureTarget(root, "/dev/console", TargetKind::kFile), "console");
  ASSIGN_OR_RETURN(auto copy, CloneMount(terminal, false), "console");
  return Attach(copy.get(), target.get());
}

Result<UniqueFd> SetUpRootInChild(const RootInputs& inputs) {
  const LaunchPlan& plan = inputs.plan;
  const int root = inputs.rootfs;
  const bool in_user_namespace = !plan.user_namespace.path.empty();
  // From here on nothing that is unmounted or mounted here can reach the host.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return ErrnoError("make mounts private");
  }
  RETURN_IF_ERROR(SelectImageParts(plan.mounts, inputs.sources));
  // On the working directory: unlike a descriptor that was opened before, it has become the copy in
  // this mount namespace, and only such a place can be mounted on.
  if (move_mount(root, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError("attach root file system");
  }
  for (size_t i = 0; i < plan.mounts.size(); ++i) {
    RETURN_IF_ERROR(MountOne(root, plan.mounts[i], inputs.sources[i].get()), "mount ",
                    Printable(plan.mounts[i].destination));
  }
  for (const wire::DevicePlan& device : plan.devices) {
    RETURN_IF_ERROR(MakeDevice(root, device, in_user_namespace), "device ", Printable(device.path));
  }
  RETURN_IF_ERROR(LinkDevices(root));
  RETURN_IF_ERROR(
      RunCreateHooksInChild(inputs.hooks, plan.hooks, inputs.hooks_socket, inputs.init));
  UniqueFd terminal;
  if (plan.process.terminal && in_user_namespace) {
    RETURN_IF_ERROR(EnsureTarget(root, "/dev/console", TargetKind::kFile), "console");
  } else if (plan.process.terminal) {
    ASSIGN_OR_RETURN(terminal, OpenTerminalInChild(root, inputs.sync_socket));
    RETURN_IF_ERROR(BindConsoleInChild(root, terminal.get()));
  }
  auto cwd = EnsureTarget(root, plan.process.cwd, TargetKind::kDirectory);
  if (!cwd.ok() && cwd.error().sys_errno() != EROFS) {
    return std::move(cwd).error().Wrap("working directory").WithCode(Code::kInvalidArgument);
  }
  if (plan.root_readonly) {
    RETURN_IF_ERROR(SetAttributes(root, MOUNT_ATTR_RDONLY, 0, false), "read-only root");
  }
  RETURN_IF_ERROR(MakeReadonly(root, plan.readonly_paths));
  RETURN_IF_ERROR(MaskPaths(root, plan.masked_paths));
  RETURN_IF_ERROR(PivotInto(root));
  return terminal;
}

}  // namespace berth::shim
