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
  return StrCat(FdPath(plan.writable.fd), "/", path);
}

// A detached mount of the store in which files have the ids that the namespace maps theirs to.
Result<UniqueFd> IdMapped(const StoreDirectory& directory, int user_namespace) {
  UniqueFd store(static_cast<int>(syscall(SYS_open_tree, directory.fd, "",
                                          AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!store.ok()) return ErrnoError("open_tree of the layer store");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user_namespace);
  if (syscall(SYS_mount_setattr, store.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) !=
      0) {
    return ErrnoError(StrCat("map ids of the layers in ", directory.path,
                             " (its file system may not support idmapped mounts)"))
        .WithCode(Code::kFailedPrecondition);
  }
  return store;
}

// Of each store that has a layer of the plan, by its index; none without a user namespace.
Result<std::vector<UniqueFd>> IdMappedStores(const OverlayPlan& plan) {
  std::vector<UniqueFd> out(plan.stores.size());
  if (plan.user_namespace < 0) return out;
  for (const LowerDirectory& lower : plan.lower) {
    if (out[lower.store].ok()) continue;
    ASSIGN_OR_RETURN(out[lower.store], IdMapped(plan.stores[lower.store], plan.user_namespace));
  }
  return out;
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
                                   bool read_only, const std::vector<UniqueFd>& id_mapped) {
  if (unshare(CLONE_FS | CLONE_NEWNS) != 0) return ErrnoError("unshare mount namespace");
  if (mount(nullptr, "/", nullptr, kMountRecPrivate, nullptr) != 0)
    return ErrnoError("make private");
  // By path: overlayfs refuses layers that were opened in another mount namespace.
  if (chdir(directory.c_str()) != 0) return ErrnoError(StrCat("chdir ", directory));
  for (size_t i = 0; i < id_mapped.size(); ++i) {
    if (!id_mapped[i].ok()) continue;
    if (syscall(SYS_move_mount, id_mapped[i].get(), "", AT_FDCWD, StrCat("s", i).c_str(),
                MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      return ErrnoError("attach the layer store");
    }
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
  ASSIGN_OR_RETURN(const auto id_mapped, IdMappedStores(plan));
  for (size_t i = 0; i < plan.lower.size(); ++i) {
    const auto& [store, path] = plan.lower[i];
    const int root = id_mapped[store].ok() ? id_mapped[store].get() : plan.stores[store].fd;
    Status added = SetString(fd, "lowerdir+", StrCat(FdPath(root), "/", path));
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
  ASSIGN_OR_RETURN(auto scratch, OpenAt(plan.stores[0].fd, plan.scratch, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(MakeDirAt(scratch.get(), "m", 0700));
  ASSIGN_OR_RETURN(const auto id_mapped, IdMappedStores(plan));
  for (size_t i = 0; i < id_mapped.size(); ++i) {
    if (id_mapped[i].ok()) RETURN_IF_ERROR(MakeDirAt(scratch.get(), StrCat("s", i), 0700));
  }
  std::string data;
  for (size_t i = 0; i < plan.lower.size(); ++i) {
    const auto& [store, path] = plan.lower[i];
    const std::string root = id_mapped[store].ok() ? StrCat("s", store)
                             : store == 0          ? "../.."
                                                   : plan.stores[store].path;
    std::string name = StrCat(i);
    if (symlinkat(StrCat(root, "/", path).c_str(), scratch.get(), name.c_str()) != 0) {
      return ErrnoError("symlink to layer");
    }
    data += StrCat(i == 0 ? "lowerdir=" : ":", name);
  }
  for (const auto& [key, value] : kCommonOptions) data += StrCat(",", key, "=", value);
  if (!plan.selinux_context.empty()) data += StrCat(",context=\"", plan.selinux_context, "\"");
  if (!plan.upper.empty()) {
    // In the namespace of its own, below, the descriptors' paths are those of another.
    if (symlinkat(plan.writable.path.c_str(), scratch.get(), "w") != 0) {
      return ErrnoError("symlink to the writable layer");
    }
    data += StrCat(",upperdir=w/", plan.upper, ",workdir=w/", plan.work, ",volatile");
  }
  if (data.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    return Error(Code::kInvalidArgument,
                 StrCat(plan.lower.size(), " layers are more than this kernel's overlayfs takes"));
  }
  return RunInThread([&] {
    return MountDataInThread(StrCat(plan.stores[0].path, "/", plan.scratch), data,
                             plan.upper.empty(), id_mapped);
  });
}

}  // namespace berth::snapshotter
