#include "shim/child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/process.h"
#include "base/socket.h"
#include "shim/hooks.h"
#include "shim/privileges_in_child.h"

namespace berth::shim {

namespace {

constexpr int kChildFailed = 127;
constexpr size_t kMaxReportBytes = 16 << 10;

Status JoinSessionKeyringInChild() {
  // Its own keyring, not the daemon's. A kernel without keyrings has nothing to share.
  if (syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, nullptr) < 0 && errno != ENOSYS) {
    return ErrnoError("join session keyring");
  }
  return Ok();
}

// Asked after the namespace was opened: if the process is the one that was meant, so was that.
Status CheckIsOf(const wire::NamespacePlan& plan) {
  if (plan.pid == 0) return Ok();
  auto start_time = ProcessStartTime(plan.pid);
  if (start_time.ok() && *start_time == plan.start_time) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat(plan.path, ": the process that was meant has ended"));
}

}  // namespace

Result<Membership> OpenCgroups(const wire::CgroupPlan& plan, const std::string& exec_cgroup) {
  Membership membership;
  if (!plan.directory.empty()) {
    const std::string& directory = exec_cgroup.empty() ? plan.directory : exec_cgroup;
    ASSIGN_OR_RETURN(membership.cgroup_directory, Open(directory, O_RDONLY | O_DIRECTORY));
  }
  for (const std::string& file : plan.tasks_files) {
    ASSIGN_OR_RETURN(auto tasks, Open(file, O_WRONLY));
    membership.tasks.push_back(std::move(tasks));
  }
  if (plan.directory.empty() && !exec_cgroup.empty()) {
    ASSIGN_OR_RETURN(auto tasks, Open(exec_cgroup + "/tasks", O_WRONLY));
    membership.tasks.push_back(std::move(tasks));
  }
  return membership;
}

// Writing "0" moves the writing thread alone, for which the kernel takes no lock on all threads of
// the machine (runtime/cgroup.h).
Status JoinCgroupsInChild(const std::vector<UniqueFd>& tasks) {
  for (const UniqueFd& file : tasks) {
    if (write(file.get(), "0", 1) != 1) return ErrnoError("join cgroup");
  }
  return Ok();
}

// A score below the daemon's own needs CAP_SYS_RESOURCE. Where the daemon itself has been denied
// it, as inside of another container, the daemon's own score stays.
Status SetOomScoreInChild(int score) {
  Status status = WriteFile("/proc/self/oom_score_adj", StrCat(score));
  if (status.ok() || status.code() == Code::kPermissionDenied) return Ok();
  return std::move(status).error().Wrap("set oom_score_adj");
}

Result<Namespaces> OpenNamespaces(const std::vector<wire::NamespacePlan>& plans) {
  Namespaces out;
  for (const wire::NamespacePlan& plan : plans) {
    if (!plan.path.empty()) {
      ASSIGN_OR_RETURN(auto fd, Open(plan.path, O_RDONLY), "namespace");
      RETURN_IF_ERROR(CheckIsOf(plan));
      if (plan.flag == CLONE_NEWPID) {
        out.pid = std::move(fd);
      } else {
        out.joined.push_back(std::move(fd));
      }
    } else if (plan.flag == CLONE_NEWCGROUP) {
      // Made after the child has joined its cgroup, which then is the namespace's root.
      out.new_cgroup_namespace = true;
    } else {
      out.new_flags |= static_cast<uint64_t>(plan.flag);
      out.new_uts = out.new_uts || plan.flag == CLONE_NEWUTS;
    }
  }
  return out;
}

Status JoinNamespacesInChild(const Namespaces& namespaces) {
  for (const UniqueFd& ns : namespaces.joined) {
    if (setns(ns.get(), 0) != 0) return ErrnoError("enter namespace of the pod");
  }
  return Ok();
}

Status SetHostnameInChild(const Namespaces& namespaces, const std::string& hostname) {
  if (!namespaces.new_uts || hostname.empty()) return Ok();
  if (sethostname(hostname.data(), hostname.size()) != 0) return ErrnoError("sethostname");
  return Ok();
}

Result<ChildrenPidNamespace> ChildrenPidNamespace::Enter(int fd) {
  ASSIGN_OR_RETURN(auto own, Open("/proc/self/ns/pid", O_RDONLY));
  if (setns(fd, CLONE_NEWPID) != 0) return ErrnoError("enter pid namespace");
  return ChildrenPidNamespace(std::move(own));
}

ChildrenPidNamespace::~ChildrenPidNamespace() {
  if (own_.ok()) (void)setns(own_.get(), CLONE_NEWPID);
}

Result<pid_t> Clone(uint64_t flags, int cgroup_directory) {
  clone_args args{};
  args.flags = flags;
  // A sibling has its parent's; the kernel wants none to be named.
  if ((flags & CLONE_PARENT) == 0) args.exit_signal = SIGCHLD;
  if (cgroup_directory >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup_directory);
  }
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return ErrnoError("clone");
  return static_cast<pid_t>(pid);
}

void KillAndReap(pid_t pid) {
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<SyncSockets> MakeSyncSockets() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError("socketpair");
  return SyncSockets{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

[[noreturn]] void ReportAndExitInChild(int sync_socket, const Error& error) {
  wire::Failure failure = wire::ToFailure(error);
  failure.message.resize(std::min(failure.message.size(), kMaxReportBytes));
  (void)SendPacket(sync_socket, wire::Encode(failure));
  _exit(kChildFailed);
}

Error ReportedError(const std::string& packet) {
  auto failure = wire::Decode<wire::Failure>(packet);
  if (failure.ok()) return wire::ToError(*failure);
  return {Code::kInternal, "the child said nothing readable"};
}

Result<bool> ReadProgress(int sync_socket, UniqueFd& terminal) {
  auto packet = ReceivePacket(sync_socket);
  if (packet.ok() && packet->bytes.empty()) return true;
  if (!packet.ok() || packet->fds.size() != 1)
    return ReportedError(packet.ok() ? packet->bytes : "");
  terminal = std::move(packet->fds[0]);
  return false;
}

Result<Process> AwaitExec(const Context& context, pid_t pid, int sync_socket) {
  Process process;
  process.pid = pid;
  while (true) {
    Status there = context.Poll(sync_socket, POLLIN, kStuck);
    auto executed = there.ok() ? ReadProgress(sync_socket, process.terminal)
                               : Result<bool>(std::move(there).error());
    if (!executed.ok()) {
      kill(pid, SIGKILL);
      return std::move(executed).error();
    }
    if (*executed) return process;
  }
}

Status OwnStdioInChild(const ChildStdio& stdio, const wire::ProcessPlan& process,
                       const wire::UserNamespacePlan& user_namespace) {
  const bool mapped = !user_namespace.path.empty();
  if (process.uid == 0 && !mapped) return Ok();
  const uid_t uid = user_namespace.uid + process.uid;
  const gid_t gid = mapped ? user_namespace.gid + process.gid : static_cast<gid_t>(-1);
  for (int fd : {stdio.in.get(), stdio.out.get(), stdio.err.get()}) {
    if (fd < 0) continue;
    struct stat info {};
    if (fstat(fd, &info) != 0) return ErrnoError("stat stdio");
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3)) continue;
    if (fchown(fd, uid, gid) != 0) return ErrnoError("chown stdio");
  }
  return Ok();
}

Error BecomeInChild(const wire::ProcessPlan& plan, const LabelFiles& labels,
                    const ChildStdio& stdio, int terminal, const StartHooks* hooks) {
  Program program;
  auto steps = [&]() -> Status {
    RETURN_IF_ERROR(JoinSessionKeyringInChild());
    if (terminal >= 0 && fchown(terminal, plan.uid, static_cast<gid_t>(-1)) != 0) {
      return ErrnoError("chown terminal");
    }
    RETURN_IF_ERROR(ApplyStdioInChild(stdio, terminal));
    RETURN_IF_ERROR(EnterWorkingDirectoryInChild(plan));
    RETURN_IF_ERROR(ApplyLabelsInChild(plan, labels));
    ASSIGN_OR_RETURN(program, PrepareProgramInChild(plan));
    if (hooks != nullptr) {
      // Before the filter of system calls is there, which need not allow to start a program. A hook
      // gets it all the same.
      RETURN_IF_ERROR(RunHooks(hooks->context, {hooks->plan, wire::HookPoint::kStartContainer,
                                                getpid(), "created", -1, &plan}));
    }
    return DropPrivilegesInChild(plan);
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  return ExecuteInChild(plan, program);
}

}  // namespace berth::shim
