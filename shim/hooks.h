// Programs that a device's vendor has run at points of a container's life (runtime-spec config.md,
// "POSIX-platform Hooks"; they come from CDI files). The container's plan lists them.
//
//   shim (the host's namespaces)             init (the container's)
//   clone3 ------------------------------->  mounts everything
//         <------------------- kHooksReady    waits, if there are hooks of the first two kinds
//   prestart, createRuntime
//   "go" --------------------------------->  createContainer: the host's files are still to be
//   seen,
//                                            the root file system is at <bundle>/rootfs, writable
//                                            pivots, is confined
//                                            startContainer: a program of the container, with the
//                                            rights of its process
//   end of file at exec <-----------------   executes the program
//   poststart
//   ...
//   poststop, once the exit is on the disk; also after a start that has failed
//
// Each gets runtime-spec's state of the container on stdin, its own environment and no descriptor
// but the standard ones. What it says on stdout and stderr is shown if it fails. When it ends, or
// its time is over, its process group is killed: what shall live on has to leave it.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/context.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

struct HookRun {
  const wire::HooksPlan& plan;
  wire::HookPoint point;
  pid_t pid;                // of the container's process, for the state
  std::string_view status;  // for the state: "creating", "created", "running", "stopped"
  // Whose end ends the hook: the pidfd of the container's process. -1: nobody's.
  int pidfd = -1;
  // The rights that it gets; null: those of the caller.
  const wire::ProcessPlan* rights = nullptr;
};

bool HasHooks(const wire::HooksPlan& plan, wire::HookPoint point);

// Runs the point's hooks one after the other; the first that fails ends it. FailedPrecondition or
// DeadlineExceeded, with the hook's name and the last that it said. Blocks until they have ended,
// the context's end at the latest.
Status RunHooks(const Context& context, const HookRun& run);
// All of them, whatever becomes of each. Returns the last failure.
Status RunAllHooks(const Context& context, const HookRun& run);

// What the launch of a container leaves to its hooks, so that their failure is told and not the
// launch's. Other than the launch's context it ends a little earlier.
Context HooksContext(const Context& launch);

// The conversation in the drawing above: of the child that has mounted all, which then runs the
// createContainer hooks itself, and of the shim.
Status RunCreateHooksInChild(const Context& context, const wire::HooksPlan& plan, int socket,
                             pid_t pid);
Status ServeCreateHooks(const Context& context, const wire::HooksPlan& plan, int socket, pid_t pid);

}  // namespace berth::shim
