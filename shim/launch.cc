#include "shim/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "base/process.h"
#include "base/socket.h"
#include "shim/child.h"
#include "shim/hooks.h"
#include "shim/launch_userns.h"
#include "shim/privileges_in_child.h"
#include "shim/rootfs_in_child.h"
#include "shim/user_namespace.h"

namespace berth::shim {

void Process::Identify() {
  pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (auto ticks = ProcessStartTime(pid); ticks.ok()) start_time = *ticks;
}

namespace {

// What the child of a launch gets beside its inputs.
struct Opened {
  Namespaces namespaces;
  Membership membership;
  std::vector<UniqueFd> sources;
  Context hooks;  // how long they may take
};

Error RunInitInChild(const InitInputs& inputs, Opened& opened, int sync_socket) {
  const Namespaces& namespaces = opened.namespaces;
  const wire::LaunchPlan& plan = inputs.plan;
  UniqueFd terminal;
  LabelFiles labels;
  auto steps = [&]() -> Status {
    umask(0);
    RETURN_IF_ERROR(JoinCgroupsInChild(opened.membership.tasks));
    RETURN_IF_ERROR(SetOomScoreInChild(plan.process.oom_score_adj));
    RETURN_IF_ERROR(OwnStdioInChild(inputs.stdio, plan.process, plan.user_namespace));
    ASSIGN_OR_RETURN(labels, OpenLabelFilesInChild(plan.process));
    RETURN_IF_ERROR(JoinNamespacesInChild(namespaces));
    if (namespaces.new_cgroup_namespace && unshare(CLONE_NEWCGROUP) != 0) {
      return ErrnoError("unshare cgroup namespace");
    }
    RETURN_IF_ERROR(SetHostnameInChild(namespaces, plan.hostname));
    ASSIGN_OR_RETURN(terminal, SetUpRootInChild({plan, opened.sources, inputs.rootfs, sync_socket,
                                                 opened.hooks, sync_socket, getpid()}));
    return Ok();
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  const StartHooks hooks{opened.hooks, plan.hooks};
  return BecomeInChild(plan.process, labels, inputs.stdio, terminal.get(), &hooks);
}

Error RunExecInChild(const ExecInputs& inputs, const Membership& membership, int sync_socket) {
  UniqueFd terminal;
  LabelFiles labels;
  auto steps = [&]() -> Status {
    umask(0);
    RETURN_IF_ERROR(JoinCgroupsInChild(membership.tasks));
    RETURN_IF_ERROR(SetOomScoreInChild(inputs.process.oom_score_adj));
    RETURN_IF_ERROR(OwnStdioInChild(inputs.stdio, inputs.process, inputs.user_namespace));
    ASSIGN_OR_RETURN(labels, OpenLabelFilesInChild(inputs.process));
    constexpr int kAll = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (inputs.user_namespace.path.empty()) {
      if (setns(inputs.init_pidfd, kAll) != 0) {
        return ErrnoError("enter namespaces of the container");
      }
    } else {
      // Raising a limit takes a capability of the host's.
      RETURN_IF_ERROR(SetLimitsInChild(inputs.process));
      if (setns(inputs.init_pidfd, kAll) != 0) {
        return ErrnoError("enter namespaces of the container");
      }
      RETURN_IF_ERROR(EnterUserNamespaceInChild(inputs.init_pidfd));
    }
    if (inputs.process.terminal) {
      ASSIGN_OR_RETURN(auto root, Open("/", O_PATH | O_DIRECTORY));
      ASSIGN_OR_RETURN(terminal, OpenTerminalInChild(root.get(), sync_socket));
    }
    return Ok();
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  return BecomeInChild(inputs.process, labels, inputs.stdio, terminal.get());
}

}  // namespace

Status EnterRootPlace(const InitInputs& inputs) {
  UniqueFd own;
  if (!inputs.plan.hooks.list.empty()) {
    ASSIGN_OR_RETURN(own,
                     OpenNoSymlinks(inputs.state_dir, wire::kOciRootName, O_PATH | O_DIRECTORY));
  }
  if (fchdir(own.ok() ? own.get() : inputs.state_dir) != 0) return ErrnoError("fchdir");
  return Ok();
}

Result<Process> LaunchInit(const Context& context, const InitInputs& inputs) {
  if (!inputs.plan.user_namespace.path.empty()) return LaunchInitInUserNamespace(context, inputs);
  Opened opened{{}, {}, {}, HooksContext(context)};
  ASSIGN_OR_RETURN(opened.namespaces, OpenNamespaces(inputs.plan.namespaces));
  ASSIGN_OR_RETURN(opened.membership, OpenCgroups(inputs.plan.cgroup, ""));
  ASSIGN_OR_RETURN(opened.sources, OpenSources(inputs.plan.mounts, inputs.images));
  ASSIGN_OR_RETURN(auto sync, MakeSyncSockets());
  std::optional<ChildrenPidNamespace> pid_namespace;
  if (opened.namespaces.pid.ok()) {
    ASSIGN_OR_RETURN(auto entered, ChildrenPidNamespace::Enter(opened.namespaces.pid.get()));
    pid_namespace.emplace(std::move(entered));
  }
  // The clone carries the working directory over into the new mount namespace.
  RETURN_IF_ERROR(EnterRootPlace(inputs));
  auto cloned =
      Clone(opened.namespaces.new_flags | CLONE_NEWNS, opened.membership.cgroup_directory.get());
  if (cloned.ok() && *cloned != 0 && chdir("/") != 0) return ErrnoError("chdir /");
  ASSIGN_OR_RETURN(pid_t pid, std::move(cloned));
  if (pid == 0) {
    sync.parent.Reset();
    ReportAndExitInChild(sync.child.get(), RunInitInChild(inputs, opened, sync.child.get()));
  }
  sync.child.Reset();
  Status hooks = ServeCreateHooks(opened.hooks, inputs.plan.hooks, sync.parent.get(), pid);
  if (!hooks.ok()) {
    kill(pid, SIGKILL);
    return std::move(hooks).error();
  }
  return AwaitExec(context, pid, sync.parent.get());
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
  Process process;
  process.pid = pid;
  process.sync = std::move(sync.parent);
  return process;
}

}  // namespace berth::shim
