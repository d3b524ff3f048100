// What clients run in, see of and connect to inside running pods: commands started by a container's
// shim, the container's own streams, sockets in a pod's network.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "runtime/shim_client.h"

namespace berth::runtime {

class Core;

struct ExecResult {
  std::string out, err;  // at most kMaxExecOutputBytes each, the rest is dropped
  int32_t exit_code = 0;
};

inline constexpr size_t kMaxExecOutputBytes = 16 << 20;

// InvalidArgument for one that is empty, or too long for the packet that brings it to the shim.
Status CheckExecCommand(const std::vector<std::string>& command);

struct ExecOptions {
  std::vector<std::string> command;
  bool terminal = false;
  bool in = false;  // else /dev/null, unless there is a terminal
};

// The streams of a process. Descriptors do not block.
struct ProcessStreams {
  // Empty: not asked for, or not there. With a terminal there is no `err`.
  UniqueFd in, out, err;
  UniqueFd terminal;  // the master, for its size; empty: there is no terminal
  // The connection on which the shim tells of the end. Closing it kills an exec with all that it
  // has started, and lets go of what was attached to.
  std::shared_ptr<ShimClient> shim;
  // Of a command that could not be executed, which a shell would answer with 126 or 127: the
  // message that the shell would show. There is nothing else then.
  std::string failure;
  int32_t failure_exit_code = 0;
};

struct AttachOptions {
  bool in = false, out = false, err = false;
};

class ExecManager {
 public:
  explicit ExecManager(Core& core);
  // timeout_s 0: none. At the timeout (DeadlineExceeded) the process and its children are killed,
  // as they are within a second of `abandoned` saying that nobody waits any more (Cancelled). A
  // command that cannot be executed is an exit code of 126 or 127 with the cause in `err`.
  Result<ExecResult> ExecSync(const Context& context, const std::string& container_id,
                              const std::vector<std::string>& command, int64_t timeout_s,
                              const std::function<bool()>& abandoned);

  // NotFound or FailedPrecondition unless it is there and runs; its full id.
  Result<std::string> RunningContainer(const std::string& id) const;
  // The same for a pod that is ready.
  Result<std::string> ReadyPod(const std::string& id) const;

  // The exit is shim->ExecExit().
  Result<ProcessStreams> Start(const Context& context, const std::string& container_id,
                               const ExecOptions& options);
  // Copies of the output from now on, and its stdin. The container is never slowed: whoever falls
  // more than 1 MiB behind is cut off. The end is shim->AttachEnd(). One whose stdin is wanted and
  // that has none is attached all the same: what the client writes goes nowhere.
  Result<ProcessStreams> Attach(const Context& context, const std::string& container_id,
                                const AttachOptions& options);
  // A TCP socket of the address family, not blocking, in the pod's network namespace.
  Result<UniqueFd> PodSocket(const std::string& pod_id, int family) const;

 private:
  Core& core_;
};

}  // namespace berth::runtime
