#include "shim/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "base/process.h"
#include "base/socket.h"
#include "shim/child.h"
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

Error RunInitInChild(const InitInputs& inputs, const Namespaces& namespaces,
                     const Membership& membership, std::vector<UniqueFd>& sources,
                     int sync_socket) {
  const wire::LaunchPlan& plan = inputs.plan;
  UniqueFd terminal;
  LabelFiles labels;
  auto steps = [&]() -> Status {
    umask(0);
    RETURN_IF_ERROR(JoinCgroupsInChild(membership.tasks));
    RETURN_IF_ERROR(SetOomScoreInChild(plan.process.oom_score_adj));
    RETURN_IF_ERROR(OwnStdioInChild(inputs.stdio, plan.process, plan.user_namespace));
    ASSIGN_OR_RETURN(labels, OpenLabelFilesInChild(plan.process));
    RETURN_IF_ERROR(JoinNamespacesInChild(namespaces));
    if (namespaces.new_cgroup_namespace && unshare(CLONE_NEWCGROUP) != 0) {
      return ErrnoError("unshare cgroup namespace");
    }
    RETURN_IF_ERROR(SetHostnameInChild(namespaces, plan.hostname));
    ASSIGN_OR_RETURN(terminal, SetUpRootInChild({plan, sources, inputs.rootfs, sync_socket}));
    return Ok();
  };
  Status status = steps();
  if (!status.ok()) return std::move(status).error();
  return BecomeInChild(plan.process, labels, inputs.stdio, terminal.get());
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

Result<Process> LaunchInit(const Context& context, const InitInputs& inputs) {
  if (!inputs.plan.user_namespace.path.empty()) return LaunchInitInUserNamespace(context, inputs);
  ASSIGN_OR_RETURN(auto namespaces, OpenNamespaces(inputs.plan.namespaces));
  ASSIGN_OR_RETURN(auto membership, OpenCgroups(inputs.plan.cgroup, ""));
  ASSIGN_OR_RETURN(auto sources, OpenSources(inputs.plan.mounts, inputs.images));
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
    ReportAndExitInChild(sync.child.get(),
                         RunInitInChild(inputs, namespaces, membership, sources, sync.child.get()));
  }
  sync.child.Reset();
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
