// The parent's side of starting a process of the container: clone, hand over, wait for its exec.
//
//   shim                                   child
//   open cgroup, namespaces, bind sources
//   clone3 ------------------------------> joins, mounts, pivots, drops privileges (…InChild);
//                                          in between its hooks, if there are any (hooks.h)
//   reads the sync socket <--------------- terminal's master (one packet with a descriptor), if any
//                         <--------------- wire::Failure: it could not; it ends with 127
//   end of file: exec has succeeded (the socket is close-on-exec)
//
// Before its exec the child looks into file systems that may hang (the working directory's, the
// program's), so each wait has an end.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "shim/stdio.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// What a child is doing for whose exec the wait has been in vain.
inline constexpr char kStuck[] =
    "waiting for the program to be executed (is it, or its working directory, on a file system "
    "that hangs?)";

struct Process {
  // Notes what tells it from others, while it has not been reaped.
  void Identify();

  pid_t pid = -1;
  UniqueFd pidfd;
  uint64_t start_time = 0;  // ProcessStartTime (base/process.h)
  UniqueFd terminal;        // the pty's master, if the plan asks for one
  UniqueFd sync;  // to be read by ReadProgress (child.h); none: it has executed its program
};

// What the container's first process needs beside its plan.
struct InitInputs {
  const wire::LaunchPlan& plan;
  int rootfs;                     // detached mount
  std::vector<UniqueFd>& images;  // detached mounts, one for each of the plan's kImage
  int state_dir;  // the rootfs is attached on it, in the child's mount namespace only
  const ChildStdio& stdio;
};
// Makes the place where the child attaches the rootfs the working directory: a directory of its own
// if the plan has hooks, for which the state directory has to be there as their bundle.
Status EnterRootPlace(const InitInputs& inputs);

// On failure the child has been killed and the error says what it could not do.
Result<Process> LaunchInit(const Context& context, const InitInputs& inputs);

struct ExecInputs {
  const wire::ProcessPlan& process;
  const wire::CgroupPlan& cgroup;
  const wire::UserNamespacePlan& user_namespace;
  const std::string& exec_cgroup;  // made already; empty: none
  int init_pidfd;                  // whose namespaces are joined
  const ChildStdio& stdio;
};
// Does not wait for the exec.
Result<Process> LaunchExec(const ExecInputs& inputs);

}  // namespace berth::shim
