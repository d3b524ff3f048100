// A container that an OCI runtime (runc, crun) keeps, driven by its command line. The shim stays
// what it is without one: as subreaper it becomes the parent of the container's processes once the
// runtime's own process has ended; it owns their output, the log and the exit record.
//
//   shim                          runtime
//   attaches the root file system, and images that are volumes, in a mount namespace of its own
//   create ---------------------> makes the container, init waits          (init.pid)
//   start ----------------------> init executes the program
//   exec --detach --------------> another process                          (exec-N.pid)
//   kill ID SIGNAL -------------> ...
//   delete --force -------------> after the exit is recorded, before it is told
//
// What a command says went wrong is read from the log that it is told to write.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/children.h"
#include "shim/launch.h"
#include "shim/stdio.h"
#include "shim/wire/messages.h"

namespace berth::shim {

class OciRuntime {
 public:
  // Both are borrowed and outlive this.
  OciRuntime(wire::OciRuntimePlan plan, int state_dir, Children& children)
      : plan_(std::move(plan)), state_dir_(state_dir), children_(children) {}

  // Create and start. On failure the runtime has forgotten the container again. `images`: detached
  // mounts, one for each of the plan's kImage.
  Result<Process> Launch(const wire::LaunchPlan& plan, int rootfs, std::vector<UniqueFd>& images,
                         const ChildStdio& stdio);
  // `process`: what differs from the container's own. Once it runs it is moved into `exec_cgroup`.
  Result<Process> Exec(const wire::ProcessPlan& process, const std::string& exec_cgroup,
                       const ChildStdio& stdio, int number);
  Status Kill(int signal);
  void Delete();

 private:
  Status Run(const std::vector<std::string>& command, const std::vector<int>& child_fds,
             int64_t timeout_ms) const;
  Result<Process> RunDetached(std::vector<std::string> command, const std::string& pid_file,
                              const ChildStdio& stdio, bool terminal, int64_t timeout_ms) const;
  std::string LastError() const;
  std::string HooksSaid() const;

  wire::OciRuntimePlan plan_;
  int state_dir_;
  Children& children_;
};

}  // namespace berth::shim
