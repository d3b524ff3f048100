#include "shim/launch.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "base/socket.h"
#include "shim/privileges_in_child.h"
#include "shim/rootfs_in_child.h"

namespace berth::shim {

namespace {

constexpr int kChildFailed = 127;

// What a child joins before it does anything else.
struct Membership {
  UniqueFd cgroup_directory;    // v2, for CLONE_INTO_CGROUP
  std::vector<UniqueFd> tasks;  // v1
};

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
  return status.code() == Code::kPermissionDenied ? Ok() : status;
}

[[noreturn]] void ReportAndExitInChild(int sync_socket, const Error& error) {
  wire::Failure failure = wire::ToFailure(error);
  failure.message.resize(std::min<size_t>(failure.message.size(), 16 << 10));
  (void)SendPacket(sync_socket, wire::Encode(failure));
  _exit(kChildFailed);
}

// clone3 as fork: the shim has one thread, so the child may go on using the heap and libc.
Result<pid_t> Clone(uint64_t flags, int cgroup_directory) {
  clone_args args{};
  args.flags = flags;
  args.exit_signal = SIGCHLD;
  if (cgroup_directory >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup_directory);
  }
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return ErrnoError("clone");
  return static_cast<pid_t>(pid);
}

struct SyncSockets {
  UniqueFd parent, child;
};

Result<SyncSockets> MakeSyncSockets() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError("socketpair");
  return SyncSockets{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Reads what the child says until its exec closes the socket.
Result<Process> AwaitExec(pid_t pid, int sync_socket) {
  Process process;
  process.pid = pid;
  while (true) {
    auto packet = ReceivePacket(sync_socket);
    if (packet.ok() && packet->bytes.empty()) return process;
    if (packet.ok() && packet->fds.size() == 1) {
      process.terminal = std::move(packet->fds[0]);
      continue;
    }
    Error error(Code::kInternal, "the child said nothing readable");
    if (packet.ok()) {
      auto failure = wire::Decode<wire::Failure>(packet->bytes);
      if (failure.ok()) error = wire::ToError(*failure);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return error;
  }
}

// New or pinned namespaces of a container, in the form that clone and setns want.
struct Namespaces {
  uint64_t new_flags = 0;
  bool new_cgroup_namespace = false;
  UniqueFd pid;                  // to be entered by the parent, before the clone
  std::vector<UniqueFd> joined;  // by the child
  bool new_uts = false;
};

Result<Namespaces> OpenNamespaces(const std::vector<wire::NamespacePlan>& plans) {
  Namespaces out;
  for (const wire::NamespacePlan& plan : plans) {
    if (!plan.path.empty()) {
      ASSIGN_OR_RETURN(auto fd, Open(plan.path, O_RDONLY), "namespace");
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

// Makes the pid namespace that children of this process are born into another one, for its
// lifetime.
class ChildrenPidNamespace {
 public:
  static Result<ChildrenPidNamespace> Enter(int fd) {
    ASSIGN_OR_RETURN(auto own, Open("/proc/self/ns/pid", O_RDONLY));
    if (setns(fd, CLONE_NEWPID) != 0) return ErrnoError("enter pid namespace");
    return ChildrenPidNamespace(std::move(own));
  }
  ChildrenPidNamespace(ChildrenPidNamespace&&) = default;
  ChildrenPidNamespace& operator=(ChildrenPidNamespace&&) = delete;
  ~ChildrenPidNamespace() {
    if (own_.ok()) (void)setns(own_.get(), CLONE_NEWPID);
  }

 private:
  explicit ChildrenPidNamespace(UniqueFd own) : own_(std::move(own)) {}
  UniqueFd own_;
};

// So that a non-root process can open /dev/stdout again by its name. Host devices keep their owner.
Status OwnStdioInChild(uint32_t uid) {
  for (int fd = 0; fd < 3 && uid != 0; ++fd) {
    struct stat info {};
    if (fstat(fd, &info) != 0) return ErrnoError("stat stdio");
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3)) continue;
    if (fchown(fd, uid, static_cast<gid_t>(-1)) != 0) return ErrnoError("chown stdio");
  }
  return Ok();
}

Status JoinSessionKeyringInChild() {
  // Its own keyring, not the daemon's. A kernel without keyrings has nothing to share.
  if (syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, nullptr) < 0 && errno != ENOSYS) {
    return ErrnoError("join session keyring");
  }
  return Ok();
}

Error BecomeInChild(const wire::ProcessPlan& plan, const ChildStdio& stdio, int terminal) {
  auto steps = [&]() -> Status {
    RETURN_IF_ERROR(JoinSessionKeyringInChild());
    RETURN_IF_ERROR(ApplyStdioInChild(stdio, terminal));
    RETURN_IF_ERROR(OwnStdioInChild(plan.uid));
    RETURN_IF_ERROR(EnterWorkingDirectoryInChild(plan));
    return DropPrivilegesInChild(plan);
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  return ExecuteInChild(plan);
}

Error RunInitInChild(const InitInputs& inputs, const Namespaces& namespaces,
                     const Membership& membership, const std::vector<UniqueFd>& bind_sources,
                     int sync_socket) {
  const wire::LaunchPlan& plan = inputs.plan;
  UniqueFd terminal;
  auto steps = [&]() -> Status {
    umask(0);
    RETURN_IF_ERROR(JoinCgroupsInChild(membership.tasks));
    RETURN_IF_ERROR(SetOomScoreInChild(plan.process.oom_score_adj), "set oom_score_adj");
    for (const UniqueFd& ns : namespaces.joined) {
      if (setns(ns.get(), 0) != 0) return ErrnoError("enter namespace of the pod");
    }
    if (namespaces.new_cgroup_namespace && unshare(CLONE_NEWCGROUP) != 0) {
      return ErrnoError("unshare cgroup namespace");
    }
    if (namespaces.new_uts && !plan.hostname.empty() &&
        sethostname(plan.hostname.data(), plan.hostname.size()) != 0) {
      return ErrnoError("sethostname");
    }
    ASSIGN_OR_RETURN(terminal, SetUpRootInChild({plan, bind_sources, inputs.rootfs, sync_socket}));
    return Ok();
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  return BecomeInChild(plan.process, inputs.stdio, terminal.get());
}

Error RunExecInChild(const ExecInputs& inputs, const Membership& membership, int sync_socket) {
  UniqueFd terminal;
  auto steps = [&]() -> Status {
    umask(0);
    RETURN_IF_ERROR(JoinCgroupsInChild(membership.tasks));
    RETURN_IF_ERROR(SetOomScoreInChild(inputs.process.oom_score_adj), "set oom_score_adj");
    constexpr int kAll = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (setns(inputs.init_pidfd, kAll) != 0) return ErrnoError("enter namespaces of the container");
    if (inputs.process.terminal) {
      ASSIGN_OR_RETURN(auto root, Open("/", O_PATH | O_DIRECTORY));
      ASSIGN_OR_RETURN(terminal, OpenTerminalInChild(root.get(), sync_socket));
    }
    return Ok();
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  return BecomeInChild(inputs.process, inputs.stdio, terminal.get());
}

}  // namespace

Result<Process> LaunchInit(const InitInputs& inputs) {
  ASSIGN_OR_RETURN(auto namespaces, OpenNamespaces(inputs.plan.namespaces));
  ASSIGN_OR_RETURN(auto membership, OpenCgroups(inputs.plan.cgroup, ""));
  ASSIGN_OR_RETURN(auto bind_sources, OpenBindSources(inputs.plan.mounts));
  ASSIGN_OR_RETURN(auto sync, MakeSyncSockets());
  std::optional<ChildrenPidNamespace> pid_namespace;
  if (namespaces.pid.ok()) {
    ASSIGN_OR_RETURN(auto entered, ChildrenPidNamespace::Enter(namespaces.pid.get()));
    pid_namespace.emplace(std::move(entered));
  }
  // The clone carries the working directory over into the new mount namespace.
  if (fchdir(inputs.state_dir) != 0) return ErrnoError("fchdir");
  auto cloned = Clone(namespaces.new_flags | CLONE_NEWNS, membership.cgroup_directory.get());
  if (cloned.ok() && *cloned != 0 && chdir("/") != 0) return ErrnoError("chdir /");
  ASSIGN_OR_RETURN(pid_t pid, std::move(cloned));
  if (pid == 0) {
    sync.parent.Reset();
    ReportAndExitInChild(sync.child.get(), RunInitInChild(inputs, namespaces, membership,
                                                          bind_sources, sync.child.get()));
  }
  sync.child.Reset();
  return AwaitExec(pid, sync.parent.get());
}

Result<Process> LaunchExec(const ExecInputs& inputs) {
  ASSIGN_OR_RETURN(auto membership, OpenCgroups(inputs.cgroup, inputs.exec_cgroup));
  ASSIGN_OR_RETURN(auto sync, MakeSyncSockets());
  ASSIGN_OR_RETURN(auto pid_namespace, ChildrenPidNamespace::Enter(inputs.init_pidfd));
  ASSIGN_OR_RETURN(pid_t pid, Clone(0, membership.cgroup_directory.get()));
  if (pid == 0) {
    sync.parent.Reset();
    ReportAndExitInChild(sync.child.get(), RunExecInChild(inputs, membership, sync.child.get()));
  }
  sync.child.Reset();
  return AwaitExec(pid, sync.parent.get());
}

}  // namespace berth::shim
