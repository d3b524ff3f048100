// The standard streams of a process: pipes, or a pty that the child itself opens in its devpts.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::shim {

// The child's ends. With a terminal all three stay empty.
struct ChildStdio {
  UniqueFd in, out, err;
};
// Ours. `in` is empty unless there is a pipe for stdin.
struct ParentStdio {
  UniqueFd in, out, err;
};
struct StdioPair {
  ChildStdio child;
  ParentStdio parent;
};

Result<StdioPair> MakeStdio(bool terminal, bool stdin_pipe);

// Makes the descriptors 0, 1, 2 and starts a session with the terminal as its controlling one, if
// there is one (`terminal` >= 0: the pty's slave).
Status ApplyStdioInChild(const ChildStdio& stdio, int terminal);

// Opens a new pty in the container's own devpts, reached from `root` without following symlinks and
// checked to be a devpts (CVE-2025-52565). Sends the master to the shim; returns the slave.
Result<UniqueFd> OpenTerminalInChild(int root, int sync_socket);

}  // namespace berth::shim
