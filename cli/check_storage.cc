// The file system of images and containers: overlayfs on it, mapped ids, room.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "cli/check.h"

namespace berth::cli {

namespace {

constexpr uint64_t kLowPercent = 10;

struct NamedType {
  int64_t magic;
  const char* name;
  bool fits;
};
constexpr NamedType kTypes[] = {
    {EXT4_SUPER_MAGIC, "ext4", true},   {XFS_SUPER_MAGIC, "xfs", true},
    {BTRFS_SUPER_MAGIC, "btrfs", true}, {F2FS_SUPER_MAGIC, "f2fs", true},
    {TMPFS_MAGIC, "tmpfs", false},      {OVERLAYFS_SUPER_MAGIC, "overlayfs", false},
    {NFS_SUPER_MAGIC, "nfs", false}};

// The nearest directory that is there: the daemon makes the others.
std::string Existing(std::string path) {
  while (path.size() > 1 && access(path.c_str(), F_OK) != 0) {
    path = path.substr(0, path.rfind('/'));
    if (path.empty()) path = "/";
  }
  return path;
}

void CheckType(const std::string& directory, Findings& findings) {
  struct statfs info {};
  if (statfs(directory.c_str(), &info) != 0) return;
  Finding finding{"file system", Level::kOk, StrCat("type ", info.f_type, " at ", directory), ""};
  for (const NamedType& type : kTypes) {
    if (type.magic != info.f_type) continue;
    finding.found = StrCat(type.name, " at ", directory);
    if (type.fits) continue;
    finding.level = Level::kWarning;
    finding.advice = "images and containers want a local file system on a disk: set root to one";
  }
  findings.push_back(std::move(finding));
}

// Mounts an overlay of two layers whose files are all in `directory`, and makes a whiteout in it.
int TryOverlay(const std::string& directory) {
  if (unshare(CLONE_NEWNS) != 0) return errno;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  for (const char* name : {"a", "b", "up", "work"}) {
    if (mkdir(StrCat(directory, "/", name).c_str(), 0755) != 0) return errno;
  }
  const UniqueFd file(
      open(StrCat(directory, "/a/f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  const UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  if (!file.ok() || !context.ok()) return errno;
  auto set = [&](const char* key, const std::string& value) {
    return syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) == 0;
  };
  if (!set("lowerdir", StrCat(directory, "/b:", directory, "/a")) ||
      !set("upperdir", directory + "/up") || !set("workdir", directory + "/work") ||
      syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return errno;
  }
  const UniqueFd merged(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!merged.ok()) return errno;
  return unlinkat(merged.get(), "f", 0) == 0 ? 0 : errno;
}

void CheckOverlay(const std::string& directory, const std::string& scratch, Findings& findings) {
  const int failed = Try([&] { return TryOverlay(scratch); });
  Finding finding{"overlayfs", Level::kOk, StrCat("works on ", directory), ""};
  if (failed != 0) {
    finding.level = Level::kProblem;
    finding.found = StrCat("cannot be mounted on ", directory, ": ", strerror(failed));
    finding.advice = failed == ENODEV ? "use a kernel with CONFIG_OVERLAY_FS"
                                      : "set root to a directory on ext4, xfs (ftype=1) or btrfs";
  }
  findings.push_back(std::move(finding));
}

// Maps the ids of a copy of the mount by a user namespace that a child holds.
int TryMappedMount(const std::string& directory) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return errno;
  const pid_t holder = fork();
  if (holder == 0) {
    const char done = unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
    if (write(ready[1], &done, 1) == 1) pause();
    _exit(0);
  }
  char answer = 'n';
  int failed = read(ready[0], &answer, 1) == 1 && answer == 'y' ? 0 : EPERM;
  const std::string proc = StrCat("/proc/", holder);
  for (const char* map : {"/uid_map", "/gid_map"}) {
    if (failed == 0 && !WriteFile(proc + map, "0 100000 65536").ok()) failed = EPERM;
  }
  const UniqueFd user(open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd tree(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (failed == 0 && (!user.ok() || !tree.ok())) failed = errno;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user.get());
  if (failed == 0 && syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes,
                             sizeof attributes) != 0) {
    failed = errno;
  }
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  return failed;
}

void CheckMappedMounts(const std::string& directory, Findings& findings) {
  const int failed = Try([&] { return TryMappedMount(directory); });
  Finding finding{"id-mapped mounts", Level::kOk, StrCat("work on ", directory), ""};
  if (failed != 0) {
    finding.level = Level::kWarning;
    finding.found = StrCat("do not work on ", directory, ": ", strerror(failed));
    finding.advice = "pods with hostUsers: false will fail; use ext4, xfs or btrfs";
  }
  findings.push_back(std::move(finding));
}

void CheckRoom(const std::string& directory, Findings& findings) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0 || info.f_blocks == 0) return;
  const uint64_t percent = uint64_t{100} * info.f_bavail / info.f_blocks;
  const uint64_t gigabytes = info.f_bavail * info.f_frsize >> 30;
  const bool low = percent < kLowPercent;
  findings.push_back({"room", low ? Level::kWarning : Level::kOk,
                      StrCat(gigabytes, " GiB free, ", percent, " %"),
                      low ? "kubelet will remove images and evict pods" : ""});
  if (info.f_files == 0) return;  // btrfs makes inodes as it needs them
  const uint64_t inodes = uint64_t{100} * info.f_favail / info.f_files;
  findings.push_back({"inodes", inodes < kLowPercent ? Level::kWarning : Level::kOk,
                      StrCat(inodes, " % free"),
                      inodes < kLowPercent ? "images of many small files will not fit" : ""});
}

}  // namespace

void CheckStorage(const config::Config& config, Findings& findings) {
  const std::string directory = Existing(config.root);
  CheckType(directory, findings);
  std::string scratch = StrCat(directory, directory == "/" ? "" : "/", ".berth-check-XXXXXX");
  if (mkdtemp(scratch.data()) == nullptr) {
    findings.push_back({"root", Level::kProblem,
                        StrCat("cannot write to ", directory, ": ", strerror(errno)),
                        "set root to a directory that root can write to"});
    return;
  }
  CheckOverlay(directory, scratch, findings);
  CheckMappedMounts(directory, findings);
  auto parent = Open(directory, O_PATH | O_DIRECTORY);
  if (parent.ok()) (void)RemoveTreeAt(parent->get(), scratch.substr(scratch.rfind('/') + 1));
  CheckRoom(directory, findings);
}

}  // namespace berth::cli
