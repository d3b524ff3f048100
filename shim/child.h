// What every launch of a process in a container is made of: cgroups, namespaces, the clone, and the
// socket over which the child says that it could not.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/labels_in_child.h"
#include "shim/launch.h"
#include "shim/stdio.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// The cgroups that a child joins before it does anything else.
struct Membership {
  UniqueFd cgroup_directory;    // v2, for CLONE_INTO_CGROUP
  std::vector<UniqueFd> tasks;  // v1
};
Result<Membership> OpenCgroups(const wire::CgroupPlan& plan, const std::string& exec_cgroup);
Status JoinCgroupsInChild(const std::vector<UniqueFd>& tasks);
Status SetOomScoreInChild(int score);

// New or pinned namespaces of a container, in the form that clone and setns want.
struct Namespaces {
  uint64_t new_flags = 0;
  bool new_cgroup_namespace = false;
  UniqueFd pid;                  // to be entered by the parent, before the clone
  std::vector<UniqueFd> joined;  // by the child
  bool new_uts = false;
};
Result<Namespaces> OpenNamespaces(const std::vector<wire::NamespacePlan>& plans);
Status JoinNamespacesInChild(const Namespaces& namespaces);
Status SetHostnameInChild(const Namespaces& namespaces, const std::string& hostname);

// Makes the pid namespace that children of this process are born into another one, for its
// lifetime.
class ChildrenPidNamespace {
 public:
  static Result<ChildrenPidNamespace> Enter(int fd);
  ChildrenPidNamespace(ChildrenPidNamespace&&) = default;
  ChildrenPidNamespace& operator=(ChildrenPidNamespace&&) = delete;
  ~ChildrenPidNamespace();

 private:
  explicit ChildrenPidNamespace(UniqueFd own) : own_(std::move(own)) {}
  UniqueFd own_;
};

// clone3 as fork: the shim has one thread, so the child may go on using the heap and libc.
Result<pid_t> Clone(uint64_t flags, int cgroup_directory = -1);
// SIGKILL, and reaped. For processes that cannot hang in a file system of the container's.
void KillAndReap(pid_t pid);

struct SyncSockets {
  UniqueFd parent, child;
};
Result<SyncSockets> MakeSyncSockets();
[[noreturn]] void ReportAndExitInChild(int sync_socket, const Error& error);
// What ReportAndExitInChild has sent.
Error ReportedError(const std::string& packet);
// Reads one packet of what the child says, waiting for it: true once its exec has closed the
// socket. `terminal` is set when the child sends one.
Result<bool> ReadProgress(int sync_socket, UniqueFd& terminal);
// Reads what the child says until its exec closes the socket. A child that fails or is too slow is
// killed, but not waited for: in a file system that hangs it may not even be killable.
Result<Process> AwaitExec(const Context& context, pid_t pid, int sync_socket);

// So that the process can open /dev/stdout again by its name. Host devices keep their owner. Before
// a user namespace is entered: of a file of an id that it does not know it cannot change the owner.
Status OwnStdioInChild(const ChildStdio& stdio, const wire::ProcessPlan& process,
                       const wire::UserNamespacePlan& user_namespace);

// The hooks that come right before the program of a container's first process.
struct StartHooks {
  const Context& context;
  const wire::HooksPlan& plan;
};
// From a child in its namespaces and its root to the plan's program; returns on failure only.
// `hooks`: null for an exec.
Error BecomeInChild(const wire::ProcessPlan& plan, const LabelFiles& labels,
                    const ChildStdio& stdio, int terminal, const StartHooks* hooks = nullptr);

}  // namespace berth::shim
