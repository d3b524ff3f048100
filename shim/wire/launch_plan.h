// What a container is started from: the file "plan" of its directory, written by the daemon and
// read by the shim. Its encoding is the messages' (shim/wire/messages.h, which names the file).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shim/wire/codec.h"

namespace berth::shim::wire {

struct Rlimit {
  int32_t resource = 0;  // RLIMIT_*
  uint64_t soft = 0, hard = 0;
};
template <typename C>
void Fields(C& c, Rlimit& r) {
  c(r.resource, r.soft, r.hard);
}

// Everything a process of the container runs with; execs share it but for the arguments.
struct ProcessPlan {
  std::vector<std::string> args, env;
  std::string cwd;
  bool terminal = false;
  uint32_t uid = 0, gid = 0, umask = 0022;
  std::vector<uint32_t> groups;
  // Bit n is capability n (linux/capability.h).
  uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0;
  std::vector<Rlimit> rlimits;
  bool no_new_privs = false;
  int32_t oom_score_adj = 0;
  std::string seccomp;                          // array of struct sock_filter; empty: no filter
  std::string apparmor_profile, selinux_label;  // from the exec on; empty: none
};
template <typename C>
void Fields(C& c, ProcessPlan& p) {
  c(p.args, p.env, p.cwd, p.terminal, p.uid, p.gid, p.umask, p.groups, p.bounding, p.effective,
    p.permitted, p.inheritable, p.ambient, p.rlimits, p.no_new_privs, p.oom_score_adj, p.seccomp,
    p.apparmor_profile, p.selinux_label);
}

// `count` ids from `inside` on are those from `outside` on of the host.
struct IdRange {
  uint32_t inside = 0, outside = 0, count = 0;
  bool operator==(const IdRange&) const = default;
};
template <typename C>
void Fields(C& c, IdRange& r) {
  c(r.inside, r.outside, r.count);
}

enum class MountKind : uint8_t {
  kFilesystem = 0,  // a new instance of `fstype`
  kBind = 1,        // `source` of the host, with what is mounted below it if `recursive`
  kImage = 2,       // a mount that came with kLaunch, or `source` in it, a path in its root
};
struct MountPlan {
  MountKind kind = MountKind::kFilesystem;
  std::string source, destination, fstype;
  std::vector<std::string> options;  // fsconfig(2) parameters, "key=value" or "flag"
  uint64_t attributes = 0;           // MOUNT_ATTR_*
  bool recursive = false;            // kBind: rbind
  bool recursive_attributes = false;
  uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE or MS_SHARED for a bind, 0 otherwise
  // kBind: a file of an `inside` id on the disk is `outside`'s in the mount. Both or neither.
  std::vector<IdRange> uids, gids;
  std::string root_label;  // kFilesystem: security.selinux of its root directory; empty: as it is
};
template <typename C>
void Fields(C& c, MountPlan& m) {
  c(m.kind, m.source, m.destination, m.fstype, m.options, m.attributes, m.recursive,
    m.recursive_attributes, m.propagation, m.uids, m.gids, m.root_label);
}

struct DevicePlan {
  std::string path;   // in the container, absolute
  uint32_t mode = 0;  // with S_IFCHR, S_IFBLK or S_IFIFO
  uint32_t major = 0, minor = 0, uid = 0, gid = 0;
};
template <typename C>
void Fields(C& c, DevicePlan& d) {
  c(d.path, d.mode, d.major, d.minor, d.uid, d.gid);
}

struct NamespacePlan {
  int32_t flag = 0;  // CLONE_NEW*
  std::string path;  // empty: a new one
  // Of a process's namespace, whose number may have become another's: 0 for a path that is pinned.
  int32_t pid = 0;
  uint64_t start_time = 0;  // in clock ticks since boot: /proc/PID/stat
};
template <typename C>
void Fields(C& c, NamespacePlan& n) {
  c(n.flag, n.path, n.pid, n.start_time);
}

// The pod's user namespace, whose id 0 is `uid` and `gid` of the host, and so on from there.
struct UserNamespacePlan {
  std::string path;  // empty: the host's
  uint32_t uid = 0, gid = 0;
};
template <typename C>
void Fields(C& c, UserNamespacePlan& u) {
  c(u.path, u.uid, u.gid);
}

struct CgroupPlan {  // runtime/cgroup.h CgroupJoin says what each is
  std::string directory;
  std::vector<std::string> tasks_files;
  std::string oom_file, exec_parent;
};
template <typename C>
void Fields(C& c, CgroupPlan& p) {
  c(p.directory, p.tasks_files, p.oom_file, p.exec_parent);
}

struct LogPlan {
  std::string directory, name;  // empty directory: output is dropped
  uint32_t max_line_bytes = 16384;
};
template <typename C>
void Fields(C& c, LogPlan& l) {
  c(l.directory, l.name, l.max_line_bytes);
}

// An OCI runtime that keeps the container instead of the shim itself.
struct OciRuntimePlan {
  std::string path;  // empty: none
  std::vector<std::string> arguments;
  std::string id;
  std::string directory;  // the state directory's path: the runtimes know no descriptors
};
template <typename C>
void Fields(C& c, OciRuntimePlan& p) {
  c(p.path, p.arguments, p.id, p.directory);
}

// Where in the container's life a hook runs, and as whom (shim/hooks.h draws it).
enum class HookPoint : uint8_t {
  kPrestart = 0,  // the runtime's namespaces
  kCreateRuntime = 1,
  kCreateContainer = 2,  // the container's namespaces, the host's files
  kStartContainer = 3,   // the container's, whole
  kPoststart = 4,        // the runtime's again
  kPoststop = 5,
};
// Their names in config.json, by their numbers.
inline constexpr std::array<std::string_view, 6> kHookNames = {
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};

struct HookPlan {
  HookPoint point = HookPoint::kPrestart;
  std::string path;
  std::vector<std::string> args, env;  // whole
  uint32_t timeout_s = 0;              // 0: as long as the start may take
};
template <typename C>
void Fields(C& c, HookPlan& h) {
  c(h.point, h.path, h.args, h.env, h.timeout_s);
}

// Of a container that the shim itself keeps; an OCI runtime has them in its config.json.
struct HooksPlan {
  std::vector<HookPlan> list;
  // For the hooks: the container's id, and the state directory's path, which is a bundle for them.
  std::string id, bundle;
};
template <typename C>
void Fields(C& c, HooksPlan& h) {
  c(h.list, h.id, h.bundle);
}

struct LaunchPlan {
  ProcessPlan process;
  std::string hostname;  // of a new uts namespace
  std::vector<NamespacePlan> namespaces;
  std::vector<MountPlan> mounts;  // in the order of mounting
  std::vector<DevicePlan> devices;
  std::vector<std::string> masked_paths, readonly_paths;
  bool root_readonly = false;
  bool keep_stdin_open = false;  // CRI stdin: a pipe that stays open; else /dev/null
  CgroupPlan cgroup;
  LogPlan log;
  UserNamespacePlan user_namespace;
  OciRuntimePlan oci_runtime;
  HooksPlan hooks;
};
template <typename C>
void Fields(C& c, LaunchPlan& p) {
  c(p.process, p.hostname, p.namespaces, p.mounts, p.devices, p.masked_paths, p.readonly_paths,
    p.root_readonly, p.keep_stdin_open, p.cgroup, p.log, p.user_namespace, p.oci_runtime, p.hooks);
}

}  // namespace berth::shim::wire
