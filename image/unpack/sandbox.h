// Shuts the worker in before it looks at the first byte of a layer.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace berth::image {

// What holds afterwards, in the order in which it is done:
//   1. the directory is the root of the file system, the only mount (own mount namespace)
//   2. limits: address space, open files, no core dumps
//   3. capabilities: CHOWN DAC_OVERRIDE FOWNER FSETID MKNOD SETFCAP, none to be gained
//   (no_new_privs)
// No network, IPC or UTS namespace is made: the system call filter has no call that would reach
// them, and a network namespace takes a millisecond.
// Returns the new root. Before any thread is started: capabilities are a thread's own.
Result<UniqueFd> EnterSandbox(int directory);

// An allow-list for all threads of the process: whatever else is called kills it. Nothing on it
// opens a socket, starts a program, maps executable memory or changes a mount.
Status FilterSystemCalls();

}  // namespace berth::image
