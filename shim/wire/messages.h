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
#include "shim/wire/launch_plan.h"

namespace berth::shim::wire {

inline constexpr uint16_t kVersion = 1;

// Names in "<state>/containers/<id>/", the directory that daemon and shim of a container share.
inline constexpr char kSocketName[] = "shim.sock";
inline constexpr char kPlanName[] = "plan";  // an encoded LaunchPlan
// Of a container that an OCI runtime keeps, or that has hooks: the bundle's configuration and the
// directory that the root file system is attached on, for who is in the container's mount
// namespace.
inline constexpr char kOciConfigName[] = "config.json";
inline constexpr char kOciRootName[] = "rootfs";
// Of one that an OCI runtime keeps: the "process" of that configuration without "args", "env" and
// "terminal", which every exec has its own of.
inline constexpr char kOciProcessName[] = "process.json";
inline constexpr char kOciHooksLogName[] = "hooks.log";  // what crun's hooks have said
// With a number from 0 on: where the plan's images are mounted, in their order, for the runtime.
inline constexpr char kOciImagePrefix[] = "image-";
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

// Asked of a helper that is no shim (shim/pod_namespaces.h).
struct MakeNamespaces {
  std::vector<IdRange> uids, gids;  // of a new user namespace
  int32_t flags = 0;                // CLONE_NEW* of those that it is to own
};
template <typename C>
void Fields(C& c, MakeNamespaces& m) {
  c(m.uids, m.gids, m.flags);
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

// The plan in a container's directory.
Result<LaunchPlan> ReadPlan(int state_dir);

Failure ToFailure(const Error& error);
Error ToError(const Failure& failure);

}  // namespace berth::shim::wire
