// What daemon and shim say to each other. docs/SHIM_PROTOCOL.md draws the conversations.
//
// Transport: SOCK_SEQPACKET on "<state>/containers/<id>/shim.sock", mode 0600. One packet is one
// message: Header, then the fields of the type that it names. The daemon speaks first; a shim
// answers a version that it does not know with kFailed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "shim/wire/codec.h"

namespace berth::shim::wire {

inline constexpr uint16_t kVersion = 1;

// Names in "<state>/containers/<id>/", the directory that daemon and shim of a container share.
inline constexpr char kSocketName[] = "shim.sock";
inline constexpr char kPlanName[] = "plan";  // an encoded LaunchPlan
inline constexpr char kExitName[] = "exit";  // an encoded ExitStatus, written once

enum class Type : uint16_t {
  // daemon -> shim
  kLaunch = 1,       // descriptors, detached mounts: the root file system, then the plan's kImage
                     // mounts in their order. Answer: kLaunched or kFailed
  kWatch = 2,        // answer: kState now; kExited later
  kSignal = 3,       // Signal; answer: kDone or kFailed
  kReopenLog = 4,    // answer: kDone or kFailed
  kExec = 5,         // Exec; answer: kExecStarted or kFailed, then kExecExited. A hang-up kills it.
  kAcknowledge = 6,  // the exit is recorded: the shim ends. No answer.
  kAttach = 7,  // Attach; answer: kAttached or kFailed, then kAttachEnded. A hang-up lets go of it.
  kInputEnded = 8,       // the attached client writes nothing more. No answer.
  kMakeNamespaces = 20,  // MakeNamespaces; answer: kNamespacesMade or kFailed
  // shim -> daemon
  kLaunched = 32,  // State
  kFailed = 33,    // Failure
  kState = 34,     // State
  kExited = 35,    // ExitStatus
  kDone = 36,
  // State of the exec's process; descriptors: stdout, stderr and, if asked for, stdin; or the
  // terminal's master alone.
  kExecStarted = 37,
  kExecExited = 38,      // ExitStatus
  kAttached = 39,        // Attached, which says what descriptors come with it
  kAttachEnded = 40,     // AttachEnded
  kNamespacesMade = 52,  // descriptors: user namespace, then net, ipc, uts as far as asked for
};

struct Header {
  uint16_t version = kVersion;
  Type type = Type::kDone;
};
template <typename C>
void Fields(C& c, Header& h) {
  c(h.version, h.type);
}

struct Failure {
  int32_t code = 0;  // berth::Code
  int32_t sys_errno = 0;
  std::string message;
};
template <typename C>
void Fields(C& c, Failure& f) {
  c(f.code, f.sys_errno, f.message);
}

struct ExitStatus {
  int32_t exit_code = 0;  // 128 + signal if one ended it
  int32_t signal = 0;
  int64_t finished_at_ns = 0;
  bool oom_killed = false;
};
template <typename C>
void Fields(C& c, ExitStatus& e) {
  c(e.exit_code, e.signal, e.finished_at_ns, e.oom_killed);
}

struct State {
  int32_t pid = 0;          // in the host's PID namespace; 0: not launched
  uint64_t start_time = 0;  // proc(5) stat field 22
  int64_t started_at_ns = 0;
  bool exited = false;
  ExitStatus exit;
};
template <typename C>
void Fields(C& c, State& s) {
  c(s.pid, s.start_time, s.started_at_ns, s.exited, s.exit);
}

struct Signal {
  int32_t number = 0;
};
template <typename C>
void Fields(C& c, Signal& s) {
  c(s.number);
}

struct Exec {
  std::vector<std::string> args;
  std::vector<std::string> env;  // beyond the container's own
  bool terminal = false;
  bool in = false;  // a pipe for stdin; else /dev/null
};
template <typename C>
void Fields(C& c, Exec& e) {
  c(e.args, e.env, e.terminal, e.in);
}

struct Attach {
  bool in = false, out = false, err = false;  // what is wanted
  bool stdin_once = false;                    // the container's stdin ends with this client's
};
template <typename C>
void Fields(C& c, Attach& a) {
  c(a.in, a.out, a.err, a.stdin_once);
}

// Which descriptors there are, in this order.
struct Attached {
  // The container's stdin; of a terminal its master, wanted or not, since it has the size.
  bool in = false;
  bool out = false, err = false;  // pipes with a copy of the output
  bool terminal = false;          // then there is no `err`
};
template <typename C>
void Fields(C& c, Attached& a) {
  c(a.in, a.out, a.err, a.terminal);
}

struct AttachEnded {
  bool too_slow = false;  // else the container has ended
};
template <typename C>
void Fields(C& c, AttachEnded& a) {
  c(a.too_slow);
}

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

// Asked of a helper that is no shim (shim/pod_namespaces.h).
struct MakeNamespaces {
  std::vector<IdRange> uids, gids;  // of a new user namespace
  int32_t flags = 0;                // CLONE_NEW* of those that it is to own
};
template <typename C>
void Fields(C& c, MakeNamespaces& m) {
  c(m.uids, m.gids, m.flags);
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
};
template <typename C>
void Fields(C& c, MountPlan& m) {
  c(m.kind, m.source, m.destination, m.fstype, m.options, m.attributes, m.recursive,
    m.recursive_attributes, m.propagation, m.uids, m.gids);
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
};
template <typename C>
void Fields(C& c, NamespacePlan& n) {
  c(n.flag, n.path);
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
};
template <typename C>
void Fields(C& c, LaunchPlan& p) {
  c(p.process, p.hostname, p.namespaces, p.mounts, p.devices, p.masked_paths, p.readonly_paths,
    p.root_readonly, p.keep_stdin_open, p.cgroup, p.log, p.user_namespace);
}

// A packet: header and body.
template <typename T>
std::string Pack(Type type, const T& body) {
  return Encode(Header{kVersion, type}) + Encode(body);
}
std::string Pack(Type type);

struct Unpacked {
  Type type = Type::kDone;
  std::string_view body;  // of the packet's bytes
};
// Unimplemented for another version, DataLoss for no header.
Result<Unpacked> Unpack(std::string_view packet);

Failure ToFailure(const Error& error);
Error ToError(const Failure& failure);

}  // namespace berth::shim::wire
