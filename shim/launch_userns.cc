#include "shim/launch_userns.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/socket.h"
#include "shim/child.h"
#include "shim/hooks.h"
#include "shim/privileges_in_child.h"
#include "shim/rootfs_in_child.h"
#include "shim/user_namespace.h"

namespace berth::shim {

namespace {

// What the entrant says of init, with a descriptor of the working directory in its mount namespace.
struct Birth {
  int32_t pid = 0;
};
template <typename C>
void Fields(C& c, Birth& b) {
  c(b.pid);
}

struct Opened {
  Namespaces namespaces;
  Membership membership;
  std::vector<UniqueFd> sources;
  UniqueFd user_namespace;
  Context hooks;  // how long they may take
};

Result<Opened> OpenAll(const Context& context, const InitInputs& inputs) {
  const wire::LaunchPlan& plan = inputs.plan;
  Opened opened{{}, {}, {}, {}, HooksContext(context)};
  ASSIGN_OR_RETURN(opened.namespaces, OpenNamespaces(plan.namespaces));
  ASSIGN_OR_RETURN(opened.membership, OpenCgroups(plan.cgroup, ""));
  ASSIGN_OR_RETURN(opened.sources, OpenSources(plan.mounts, inputs.images));
  ASSIGN_OR_RETURN(opened.user_namespace, Open(plan.user_namespace.path, O_RDONLY),
                   "user namespace");
  return opened;
}

// ---- init

Status EnterRootInChild(const wire::LaunchPlan& plan, int sync_socket, UniqueFd& terminal) {
  // Its directory is one of the host's, which the pivot has put out of reach but for this.
  if (chdir("/") != 0) return ErrnoError("chdir /");
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError("unshare mount namespace");
  if (!plan.process.terminal) return Ok();
  ASSIGN_OR_RETURN(auto root, Open("/", O_PATH | O_DIRECTORY));
  ASSIGN_OR_RETURN(terminal, OpenTerminalInChild(root.get(), sync_socket));
  return BindConsoleInChild(root.get(), terminal.get());
}

Error RunInitInChild(const InitInputs& inputs, const Context& hooks_context, int sync_socket) {
  const wire::ProcessPlan& process = inputs.plan.process;
  auto labels = OpenLabelFilesInChild(process);
  if (!labels.ok()) return std::move(labels).error();
  auto go = ReceivePacket(sync_socket);
  if (!go.ok() || go->bytes.empty()) return {Code::kAborted, "the launch was given up"};
  UniqueFd terminal;
  Status status = EnterRootInChild(inputs.plan, sync_socket, terminal);
  if (!status.ok()) return std::move(status).error();
  const StartHooks hooks{hooks_context, inputs.plan.hooks};
  return BecomeInChild(process, *labels, inputs.stdio, terminal.get(), &hooks);
}

// ---- entrant

Status EnterNamespacesInChild(const InitInputs& inputs, const Opened& opened) {
  const wire::LaunchPlan& plan = inputs.plan;
  const Namespaces& namespaces = opened.namespaces;
  umask(0);
  RETURN_IF_ERROR(JoinCgroupsInChild(opened.membership.tasks));
  RETURN_IF_ERROR(SetOomScoreInChild(plan.process.oom_score_adj));
  RETURN_IF_ERROR(OwnStdioInChild(inputs.stdio, plan.process, plan.user_namespace));
  RETURN_IF_ERROR(JoinNamespacesInChild(namespaces));
  if (namespaces.pid.ok() && setns(namespaces.pid.get(), CLONE_NEWPID) != 0) {
    return ErrnoError("enter pid namespace");
  }
  // Raising a limit takes a capability of the host's.
  RETURN_IF_ERROR(SetLimitsInChild(plan.process));
  RETURN_IF_ERROR(EnterUserNamespaceInChild(opened.user_namespace.get()));
  uint64_t owned = namespaces.new_flags & ~static_cast<uint64_t>(CLONE_NEWPID | CLONE_NEWNS);
  if (namespaces.new_cgroup_namespace) owned |= CLONE_NEWCGROUP;
  if (owned != 0 && unshare(static_cast<int>(owned)) != 0) return ErrnoError("unshare");
  return SetHostnameInChild(namespaces, plan.hostname);
}

[[noreturn]] void RunEntrantInChild(const InitInputs& inputs, Opened& opened, UniqueFd birth,
                                    int sync_socket) {
  auto directory = Open(".", O_PATH | O_DIRECTORY);
  Status status =
      directory.ok() ? EnterNamespacesInChild(inputs, opened) : Status(directory.error());
  opened.sources.clear();  // so that what init opens is below its limit of descriptors
  const uint64_t pid_flag = opened.namespaces.new_flags & CLONE_NEWPID;
  Result<pid_t> init = Error(Code::kInternal, "not cloned");
  if (status.ok()) init = Clone(CLONE_PARENT | pid_flag);
  if (!status.ok()) ReportAndExitInChild(birth.get(), status.error());
  if (!init.ok()) ReportAndExitInChild(birth.get(), init.error());
  if (*init == 0) {
    birth.Reset();
    directory->Reset();
    ReportAndExitInChild(sync_socket, RunInitInChild(inputs, opened.hooks, sync_socket));
  }
  (void)SendPacket(birth.get(), wire::Encode(Birth{*init}), {directory->get()});
  _exit(0);
}

struct Newborn {
  pid_t pid = -1;
  UniqueFd pidfd;
  UniqueFd directory;
};

Result<Newborn> AwaitBirth(pid_t entrant, int birth_socket) {
  auto packet = ReceivePacket(birth_socket);
  KillAndReap(entrant);
  if (!packet.ok()) return std::move(packet).error();
  if (packet->bytes.empty()) return Error(Code::kInternal, "a helper of the launch was killed");
  if (packet->fds.size() != 1) return ReportedError(packet->bytes);
  ASSIGN_OR_RETURN(auto birth, wire::Decode<Birth>(packet->bytes));
  Newborn newborn{birth.pid, UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, birth.pid, 0))),
                  std::move(packet->fds[0])};
  if (newborn.pidfd.ok()) return newborn;
  Error error = ErrnoError("pidfd_open");
  KillAndReap(birth.pid);
  return error;
}

// ---- builder

Status BuildInChild(const InitInputs& inputs, Opened& opened, const Newborn& init,
                    int hooks_socket) {
  umask(0);
  constexpr int kInits = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (setns(init.pidfd.get(), kInits) != 0) return ErrnoError("enter namespaces of the container");
  if (fchdir(init.directory.get()) != 0) return ErrnoError("fchdir");
  const wire::UserNamespacePlan& ids = inputs.plan.user_namespace;
  const bool owns_pids = (opened.namespaces.new_flags & CLONE_NEWPID) != 0;
  RETURN_IF_ERROR(OwnNewFilesInChild(ids.uid, ids.gid));
  RETURN_IF_ERROR(SetUpRootInChild({inputs.plan, opened.sources, inputs.rootfs, /*sync_socket=*/-1,
                                    opened.hooks, hooks_socket, owns_pids ? 1 : init.pid}));
  return Ok();
}

Status BuildRoot(const Context& context, const InitInputs& inputs, Opened& opened,
                 const Newborn& init) {
  ASSIGN_OR_RETURN(auto sync, MakeSyncSockets());
  ASSIGN_OR_RETURN(auto pid_namespace, ChildrenPidNamespace::Enter(init.pidfd.get()));
  ASSIGN_OR_RETURN(pid_t pid, Clone(0));
  if (pid == 0) {
    Status built = BuildInChild(inputs, opened, init, sync.child.get());
    if (!built.ok()) ReportAndExitInChild(sync.child.get(), built.error());
    _exit(0);
  }
  sync.child.Reset();
  Status hooks = ServeCreateHooks(opened.hooks, inputs.plan.hooks, sync.parent.get(), init.pid);
  if (!hooks.ok()) {
    kill(pid, SIGKILL);
    return hooks;
  }
  auto packet = ReceivePacket(context, sync.parent.get(), kStuck);
  if (!packet.ok()) {
    kill(pid, SIGKILL);
    return std::move(packet).error();
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!packet->bytes.empty()) return ReportedError(packet->bytes);
  if (status != 0) return Error(Code::kInternal, "a helper of the launch was killed");
  return Ok();
}

}  // namespace

Result<Process> LaunchInitInUserNamespace(const Context& context, const InitInputs& inputs) {
  ASSIGN_OR_RETURN(auto opened, OpenAll(context, inputs));
  ASSIGN_OR_RETURN(auto birth, MakeSyncSockets());
  ASSIGN_OR_RETURN(auto sync, MakeSyncSockets());
  // The clone carries the working directory over into the new mount namespace.
  RETURN_IF_ERROR(EnterRootPlace(inputs));
  auto cloned = Clone(CLONE_NEWNS, opened.membership.cgroup_directory.get());
  if (cloned.ok() && *cloned == 0) {
    birth.parent.Reset();
    sync.parent.Reset();
    RunEntrantInChild(inputs, opened, std::move(birth.child), sync.child.get());
  }
  if (chdir("/") != 0) return ErrnoError("chdir /");
  ASSIGN_OR_RETURN(pid_t entrant, std::move(cloned));
  birth.child.Reset();
  sync.child.Reset();
  ASSIGN_OR_RETURN(auto init, AwaitBirth(entrant, birth.parent.get()));
  Status ready = BuildRoot(context, inputs, opened, init);
  if (!ready.ok()) {
    kill(init.pid, SIGKILL);
    return std::move(ready).error();
  }
  // If it has failed already, what it says is read now.
  (void)SendPacket(sync.parent.get(), "go");
  return AwaitExec(context, init.pid, sync.parent.get());
}

}  // namespace berth::shim
