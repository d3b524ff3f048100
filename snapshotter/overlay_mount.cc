#include "snapshotter/overlay_mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/thread.h"

// <sys/mount.h> and <linux/mount.h> cannot both be included with this glibc.
extern "C" int mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const void* data);

namespace berth::snapshotter {

namespace {

constexpr unsigned long kMountRdonly = 1;            // MS_RDONLY
constexpr unsigned long kMountRecPrivate = 0x44000;  // MS_REC | MS_PRIVATE

// Same semantics whatever the kernel was built to default to.
constexpr const char* kCommonOptions[][2] = {
    {"redirect_dir", "off"}, {"index", "off"}, {"metacopy", "off"}};

// What the kernel has written into the file system context's log, the newest line.
std::string ContextLog(int context) {
  std::string last;
  char line[512];
  ssize_t n;
  while ((n = read(context, line, sizeof line)) > 0) {
    last.assign(line, static_cast<size_t>(n));
  }
  return last.empty() ? last : StrCat(" (", Printable(Trim(last)), ")");
}

Status SetString(int context, const char* key, const std::string& value) {
  if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value.c_str(), 0) == 0) return Ok();
  const int failed = errno;
  return ErrnoError(failed,
                    StrCat("overlay option ", key, "=", Printable(value), ContextLog(context)));
}

std::string StorePath(const OverlayPlan& plan, const std::string& path) {
  return StrCat(FdPath(plan.store), "/", path);
}

// A detached mount of the store in which files have the ids that the namespace maps theirs to.
Result<UniqueFd> IdMappedStore(const OverlayPlan& plan) {
  UniqueFd store(static_cast<int>(
      syscall(SYS_open_tree, plan.store, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!store.ok()) return ErrnoError("open_tree of the layer store");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(plan.user_namespace);
  if (syscall(SYS_mount_setattr, store.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) !=
      0) {
    return ErrnoError(StrCat("map ids of the layers in ", plan.store_path,
                             " (its file system may not support idmapped mounts)"))
        .WithCode(Code::kFailedPrecondition);
  }
  return store;
}

Result<UniqueFd> CreateMount(int context, bool read_only) {
  if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    const int failed = errno;
    return ErrnoError(failed, StrCat("create overlay", ContextLog(context)));
  }
  UniqueFd mount_fd(static_cast<int>(
      syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, read_only ? MOUNT_ATTR_RDONLY : 0)));
  if (!mount_fd.ok()) return ErrnoError("fsmount overlay");
  return mount_fd;
}

// Runs in a thread of its own: what it unshares ends with it.
Result<UniqueFd> MountDataInThread(const std::string& directory, const std::string& data,
                                   bool read_only, int id_mapped_store) {
  if (unshare(CLONE_FS | CLONE_NEWNS) != 0) return ErrnoError("unshare mount namespace");
  if (mount(nullptr, "/", nullptr, kMountRecPrivate, nullptr) != 0)
    return ErrnoError("make private");
  // By path: overlayfs refuses layers that were opened in another mount namespace.
  if (chdir(directory.c_str()) != 0) return ErrnoError(StrCat("chdir ", directory));
  if (id_mapped_store >= 0 &&
      syscall(SYS_move_mount, id_mapped_store, "", AT_FDCWD, "s", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError("attach the layer store");
  }
  if (mount("overlay", "m", "overlay", read_only ? kMountRdonly : 0, data.c_str()) != 0) {
    return ErrnoError("mount overlay");
  }
  UniqueFd tree(
      static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, "m", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree.ok()) return ErrnoError("open_tree");
  return tree;
}

}  // namespace

Result<UniqueFd> MountOverlay(const OverlayPlan& plan) {
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  if (!context.ok()) return ErrnoError("fsopen overlay");
  const int fd = context.get();
  RETURN_IF_ERROR(SetString(fd, "source", "overlay"));
  UniqueFd id_mapped;
  if (plan.user_namespace >= 0) {
    ASSIGN_OR_RETURN(id_mapped, IdMappedStore(plan));
  }
  const std::string store = FdPath(id_mapped.ok() ? id_mapped.get() : plan.store);
  for (size_t i = 0; i < plan.lower.size(); ++i) {
    Status added = SetString(fd, "lowerdir+", StrCat(store, "/", plan.lower[i]));
    if (added.ok()) continue;
    // Only the first can tell that the option itself, or a detached mount, is not understood.
    const bool unknown = i == 0 && added.error().sys_errno() == EINVAL;
    return unknown ? std::move(added).error().WithCode(Code::kUnimplemented)
                   : std::move(added).error();
  }
  for (const auto& [key, value] : kCommonOptions) RETURN_IF_ERROR(SetString(fd, key, value));
  if (!plan.selinux_context.empty()) {
    RETURN_IF_ERROR(SetString(fd, "context", plan.selinux_context));
  }
  if (!plan.upper.empty()) {
    RETURN_IF_ERROR(SetString(fd, "upperdir", StorePath(plan, plan.upper)));
    RETURN_IF_ERROR(SetString(fd, "workdir", StorePath(plan, plan.work)));
    if (syscall(SYS_fsconfig, fd, FSCONFIG_SET_FLAG, "volatile", nullptr, 0) != 0) {
      return ErrnoError("overlay option volatile");
    }
  }
  return CreateMount(fd, plan.upper.empty());
}

Result<UniqueFd> MountOverlayByData(const OverlayPlan& plan) {
  ASSIGN_OR_RETURN(auto scratch, OpenAt(plan.store, plan.scratch, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(MakeDirAt(scratch.get(), "m", 0700));
  UniqueFd id_mapped;
  if (plan.user_namespace >= 0) {
    ASSIGN_OR_RETURN(id_mapped, IdMappedStore(plan));
    RETURN_IF_ERROR(MakeDirAt(scratch.get(), "s", 0700));
  }
  const std::string store = id_mapped.ok() ? "s/" : "../../";
  std::string data;
  for (size_t i = 0; i < plan.lower.size(); ++i) {
    std::string name = StrCat(i);
    if (symlinkat(StrCat(store, plan.lower[i]).c_str(), scratch.get(), name.c_str()) != 0) {
      return ErrnoError("symlink to layer");
    }
    data += StrCat(i == 0 ? "lowerdir=" : ":", name);
  }
  for (const auto& [key, value] : kCommonOptions) data += StrCat(",", key, "=", value);
  if (!plan.selinux_context.empty()) data += StrCat(",context=\"", plan.selinux_context, "\"");
  if (!plan.upper.empty()) {
    data += StrCat(",upperdir=../../", plan.upper, ",workdir=../../", plan.work, ",volatile");
  }
  if (data.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    return Error(Code::kInvalidArgument,
                 StrCat(plan.lower.size(), " layers are more than this kernel's overlayfs takes"));
  }
  return RunInThread([&] {
    return MountDataInThread(StrCat(plan.store_path, "/", plan.scratch), data, plan.upper.empty(),
                             id_mapped.get());
  });
}

}  // namespace berth::snapshotter
