#include "runtime/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "base/thread.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxSysctls = 128;
constexpr size_t kMaxSysctlBytes = 1024;
constexpr size_t kMaxHostname = 64;  // the kernel's __NEW_UTS_LEN
// One namespace file is mounted once; more would be somebody else's doing.
constexpr int kMaxMountsOnFile = 16;

constexpr std::array<std::string_view, 11> kIpcSysctls = {
    "kernel/msgmax", "kernel/msgmnb",      "kernel/msgmni",          "kernel/msg_next_id",
    "kernel/sem",    "kernel/sem_next_id", "kernel/shmall",          "kernel/shmmax",
    "kernel/shmmni", "kernel/shm_next_id", "kernel/shm_rmid_forced",
};

struct Kind {
  const char* name;  // in /proc/PID/ns
  int flag;
  bool PodNamespaceOptions::*wanted;
  std::string PodNamespaces::*path;
  UniqueFd OwnedNamespaces::*owned;
};
constexpr std::array<Kind, 3> kKinds = {{
    {"net", CLONE_NEWNET, &PodNamespaceOptions::net, &PodNamespaces::net, &OwnedNamespaces::net},
    {"ipc", CLONE_NEWIPC, &PodNamespaceOptions::ipc, &PodNamespaces::ipc, &OwnedNamespaces::ipc},
    {"uts", CLONE_NEWUTS, &PodNamespaceOptions::uts, &PodNamespaces::uts, &OwnedNamespaces::uts},
}};

// "net.ipv4.conf.eth0/100.forwarding" or "net/ipv4/conf/eth0.100/forwarding": the first separator
// is the one between parts, the other one is part of a name (sysctl(8)).
std::string SysctlPath(std::string_view name) {
  std::string path(name);
  size_t first = path.find_first_of("./");
  if (first != std::string::npos && path[first] == '.') {
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  }
  return path;
}

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Status CheckSysctl(const PodNamespaceOptions& options, const std::string& name,
                   const std::string& value) {
  auto refuse = [&](std::string_view why) {
    return Error(Code::kInvalidArgument, StrCat("sysctl \"", Printable(name, 80), "\": ", why));
  };
  bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return IsWordChar(c) || c == '.' || c == '/' || c == '_' || c == '-';
  });
  std::string path = SysctlPath(name);
  if (!plain || name.size() > 256 || !IsPlainRelativePath(path)) return refuse("malformed name");
  bool net = path.starts_with("net/");
  bool ipc = path.starts_with("fs/mqueue/") ||
             std::find(kIpcSysctls.begin(), kIpcSysctls.end(), path) != kIpcSysctls.end();
  if (!net && !ipc) return refuse("belongs to no namespace of a pod");
  if (net && !options.net) return refuse("the pod is in the host's network namespace");
  if (ipc && !options.ipc) return refuse("the pod is in the host's ipc namespace");
  bool words = std::all_of(value.begin(), value.end(), [](char c) {
    return IsWordChar(c) || std::string_view(" \t-_.,:/").find(c) != std::string_view::npos;
  });
  if (value.empty() || value.size() > kMaxSysctlBytes || !words) {
    return refuse(StrCat("malformed value \"", Printable(value, 80), "\""));
  }
  return Ok();
}

Status CheckHostname(const std::string& name) {
  bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return IsWordChar(c) || c == '-' || c == '.' || c == '_';
  });
  if (plain && name.size() <= kMaxHostname) return Ok();
  return Error(Code::kInvalidArgument,
               StrCat("hostname: \"", Printable(name, 80), "\" is not a name of at most ",
                      kMaxHostname, " letters, digits, '-', '.' and '_'"));
}

Status BringLoopbackUp() {
  UniqueFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.ok()) return ErrnoError("socket");
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  if (ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) != 0) return ErrnoError("bring lo up");
  return Ok();
}

Status WriteSysctl(int sys, const std::string& path, const std::string& value) {
  auto file = OpenNoSymlinks(sys, path, O_WRONLY);
  Status status = file.ok() ? Ok() : Status(file.error());
  if (status.ok() && write(file->get(), value.data(), value.size()) < 0) {
    status = ErrnoError(StrCat("write \"", value, "\""));
  }
  if (status.ok()) return status;
  Code code = status.code() == Code::kInternal || status.code() == Code::kNotFound
                  ? Code::kInvalidArgument
                  : status.code();
  return std::move(status).error().WithCode(code).Wrap(StrCat("sysctl ", path));
}

// /proc/sys shows and changes the namespaces of the thread that opens the file. The last step of a
// thread that ends with it: see below.
Status WriteSysctls(const PodNamespaceOptions& options, const OwnedNamespaces* owned) {
  StringMap net, ipc;
  if (options.net) {
    net["net/ipv4/ip_unprivileged_port_start"] = "0";
    net["net/ipv4/ping_group_range"] = "0 2147483647";
  }
  for (const auto& [name, value] : options.sysctls) {
    std::string path = SysctlPath(name);
    StringMap& kind = path.starts_with("net/") ? net : ipc;
    kind[path] = value;
  }
  if (net.empty() && ipc.empty()) return Ok();
  ASSIGN_OR_RETURN(UniqueFd sys, Open("/proc/sys", O_PATH | O_DIRECTORY));
  for (const auto& [path, value] : net) RETURN_IF_ERROR(WriteSysctl(sys.get(), path, value));
  if (ipc.empty()) return Ok();
  // Those of an ipc namespace are its user namespace's root's, and capabilities do not count. The
  // raw call changes this thread alone.
  const uid_t owner = owned == nullptr ? 0 : owned->uid;
  if (owner != 0 && syscall(SYS_setresuid, owner, owner, owner) != 0)
    return ErrnoError("setresuid");
  for (const auto& [path, value] : ipc) RETURN_IF_ERROR(WriteSysctl(sys.get(), path, value));
  return Ok();
}

Status TakeNamespacesOn(const PodNamespaceOptions& options, const OwnedNamespaces* owned) {
  int flags = 0;
  for (const Kind& kind : kKinds) {
    if (!(options.*kind.wanted)) continue;
    flags |= kind.flag;
    if (owned != nullptr && setns((owned->*kind.owned).get(), kind.flag) != 0) {
      return ErrnoError(StrCat("enter the pod's namespace ", kind.name));
    }
  }
  if (owned == nullptr && flags != 0 && unshare(flags) != 0) return ErrnoError("unshare");
  return Ok();
}

// Runs in the thread that takes the new namespaces on.
Status MakeNamespaces(const std::string& dir, const PodNamespaceOptions& options,
                      const OwnedNamespaces* owned) {
  RETURN_IF_ERROR(TakeNamespacesOn(options, owned));
  if (options.uts && !options.hostname.empty() &&
      sethostname(options.hostname.data(), options.hostname.size()) != 0) {
    return ErrnoError("sethostname");
  }
  if (options.net) RETURN_IF_ERROR(BringLoopbackUp());
  for (const Kind& kind : kKinds) {
    if (!(options.*kind.wanted)) continue;
    RETURN_IF_ERROR(
        PinNamespace(StrCat("/proc/thread-self/ns/", kind.name), StrCat(dir, "/", kind.name)));
  }
  if (owned != nullptr) {
    RETURN_IF_ERROR(PinNamespace(FdPath(owned->user.get()), dir + "/user"));
  }
  return WriteSysctls(options, owned);
}

bool IsMountRoot(const std::string& path) {
  struct statx info {};
  return statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, 0, &info) == 0 &&
         (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
         (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

}  // namespace

Status CheckSysctls(const PodNamespaceOptions& options) {
  if (options.sysctls.size() > kMaxSysctls) {
    return Error(Code::kInvalidArgument, StrCat("sysctls: more than ", kMaxSysctls));
  }
  for (const auto& [name, value] : options.sysctls) {
    RETURN_IF_ERROR(CheckSysctl(options, name, value));
  }
  return Ok();
}

Status EnsurePrivateMount(const std::string& path) {
  if (!IsMountRoot(path) && mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return ErrnoError(StrCat("bind ", path, " on itself"));
  }
  if (mount(nullptr, path.c_str(), nullptr, MS_PRIVATE, nullptr) != 0) {
    return ErrnoError(StrCat("make mount ", path, " private"));
  }
  return Ok();
}

Status RemovePrivateMount(const std::string& path) {
  if (!IsMountRoot(path)) return Ok();
  if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
    return ErrnoError(StrCat("unmount ", path));
  }
  return Ok();
}

Result<PodNamespaces> CreatePodNamespaces(const std::string& dir,
                                          const PodNamespaceOptions& options,
                                          const OwnedNamespaces* owned) {
  RETURN_IF_ERROR(CheckSysctls(options));
  RETURN_IF_ERROR(CheckHostname(options.hostname));
  // Left by a daemon that died here; a file that is mounted on cannot be used a second time.
  RETURN_IF_ERROR(RemovePodNamespaces(dir));
  if (mkdir(dir.c_str(), 0700) != 0) return ErrnoError(StrCat("mkdir ", dir));
  Status status = RunInThread([&] { return MakeNamespaces(dir, options, owned); });
  if (!status.ok()) {
    (void)RemovePodNamespaces(dir);
    return std::move(status).error().Wrap("make pod namespaces");
  }
  PodNamespaces made;
  for (const Kind& kind : kKinds) {
    if (options.*kind.wanted) made.*kind.path = StrCat(dir, "/", kind.name);
  }
  if (owned != nullptr) made.user = dir + "/user";
  return made;
}

Status PinNamespace(const std::string& source, const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd file, Open(path, O_RDONLY | O_CREAT | O_NOFOLLOW, 0400));
  if (mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return ErrnoError(StrCat("bind ", source, " on ", path));
  }
  return Ok();
}

bool IsPinnedNamespace(const std::string& path) {
  struct statfs fs {};
  return statfs(path.c_str(), &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

Status RemovePodNamespaces(const std::string& dir) {
  auto opened = Open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!opened.ok()) {
    if (opened.code() == Code::kNotFound) return Ok();
    return std::move(opened).error();
  }
  std::vector<std::string> names;
  RETURN_IF_ERROR(ForEachEntry(opened->get(), [&](const std::string& name) {
    names.push_back(name);
    return Ok();
  }));
  opened->Reset();
  for (const std::string& name : names) {
    std::string path = StrCat(dir, "/", name);
    for (int i = 0; i < kMaxMountsOnFile; ++i) {
      if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) continue;
      if (errno == EINVAL || errno == ENOENT) break;  // not mounted on (any more)
      return ErrnoError(StrCat("unmount ", path));
    }
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(StrCat("unlink ", path));
  }
  if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return ErrnoError(StrCat("rmdir ", dir));
  return Ok();
}

}  // namespace berth::runtime
