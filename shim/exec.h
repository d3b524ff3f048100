// Processes that are run in the container beside its first one (ExecSync, Exec).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/oci_runtime.h"
#include "shim/stdio.h"
#include "shim/wire/messages.h"

namespace berth::shim {

struct ExecProcess {
  pid_t pid = -1;
  std::string cgroup;  // its own, so that it can be killed with all its children; may be empty
  // What the daemon gets: the ends of the pipes of stdout, stderr and, if asked for, stdin; or the
  // terminal's master alone.
  std::vector<UniqueFd> streams;
  // While it is still on its way to its program: what it says of that, and when it is too late.
  UniqueFd sync;
  int64_t start_deadline_ns = 0;
};

// Starts it, without waiting until it executes its program, with the container's plan, read again
// from the state directory: the shim keeps no copy (environments are large, idle shims are many).
// `number` names its cgroup. `runtime`: the one that keeps the container; null if it is the shim
// itself.
Result<ExecProcess> StartExec(const wire::Exec& request, int state_dir, int init_pidfd, int number,
                              OciRuntime* runtime);

// Reads what `sync` has to be read: true once the process executes its program and `streams` are
// whole. On failure it has been killed, and is to be reaped and forgotten as if it had run.
Result<bool> AdvanceStart(ExecProcess& exec);
// Kills one that has not come to its program in time: then, why.
std::optional<Error> GiveUpLateStart(ExecProcess& exec);

// SIGKILL for the process and everything it has started. Waits a moment until the process is gone:
// who has heard that its time was over must not find it with the next exec.
void KillExec(const ExecProcess& exec);
// Removes its cgroup. False while a process that it left behind still lives there.
bool RemoveExecCgroup(const std::string& cgroup);

// SIGKILL for every process in the cgroup directory and those below: cgroup.kill where there is
// one, else by pid until none is left (bounded: a process in the D state stays).
void KillCgroup(const std::string& directory);

}  // namespace berth::shim
