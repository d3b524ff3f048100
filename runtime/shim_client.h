// The daemon's side of the conversation with one shim (docs/SHIM_PROTOCOL.md).
#pragma once

#include <string>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/result.h"
#include "runtime/cgroup.h"
#include "runtime/lsm.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

// One connection. Every call waits no longer than its context. Not thread-safe.
class ShimClient {
 public:
  // `state_dir` is the container's directory. NotFound or Unavailable if no shim listens.
  static Result<ShimClient> Connect(int state_dir);

  // Starts the container's first process; afterwards the connection also watches it.
  // `images`: mounts for those of the plan's that are of images, in their order.
  Result<shim::wire::State> Launch(const Context& context, int rootfs,
                                   const std::vector<UniqueFd>& images);
  // The present state; the exit is sent on this connection later.
  Result<shim::wire::State> Watch(const Context& context);
  Status Signal(const Context& context, int number);
  Status ReopenLog(const Context& context);

  struct Exec {
    int32_t pid = 0;
    // stdout, stderr and, if asked for, stdin; or the terminal alone
    std::vector<UniqueFd> streams;
  };
  // Closing the connection while it runs kills it with its children.
  Result<Exec> StartExec(const Context& context, const shim::wire::Exec& request);
  // The next message, which must be the exec's exit.
  Result<shim::wire::ExitStatus> ExecExit(const Context& context);

  // With a terminal `in` is its master, asked for or not. Parts that were not asked for or are not
  // there stay empty. Closing the connection lets go.
  struct Attachment {
    UniqueFd in, out, err;
    bool terminal = false;
  };
  Result<Attachment> Attach(const Context& context, const shim::wire::Attach& request);
  // The next message, which must be the end of what was attached to.
  Result<shim::wire::AttachEnded> AttachEnd(const Context& context);
  // The attached client writes nothing more.
  Status InputEnded();

  // The exit is on record: the shim may end.
  Status Acknowledge();
  int fd() const { return socket_.get(); }
  UniqueFd Release() { return std::move(socket_); }

 private:
  explicit ShimClient(UniqueFd socket) : socket_(std::move(socket)) {}
  template <typename Answer>
  Result<Answer> Call(const Context& context, const std::string& request, shim::wire::Type answer,
                      std::vector<UniqueFd>* fds = nullptr);

  UniqueFd socket_;
};

// Starts shims from a sealed copy of the binary in memory: a container that gets at a shim's
// executable cannot write to it (CVE-2019-5736), and replacing the file on disk changes no running
// node.
class ShimLauncher {
 public:
  static Result<ShimLauncher> Open(const std::string& shim_path);

  // From now on shims move into that cgroup, out of the daemon's own, before anything else.
  Status UseCgroup(const CgroupJoin& join);
  // Listens in the container's directory and starts a shim on it. It ends by itself if the first
  // connection closes without a launch.
  Result<Child> Start(int state_dir) const;
  // The first process of a new PID namespace; it lives until it is killed. The namespace belongs to
  // `user_namespace`; -1: to the host's. Labels are SELinux's: empty ones are none.
  Result<pid_t> StartPodInit(const Context& context, int user_namespace,
                             const SelinuxLabels& labels) const;
  // A user namespace, and those that it is to own: in the order user, net, ipc, uts.
  Result<std::vector<UniqueFd>> MakeNamespaces(const Context& context,
                                               const shim::wire::MakeNamespaces& request) const;

 private:
  explicit ShimLauncher(UniqueFd binary) : binary_(std::move(binary)) {}
  std::string Path() const;

  UniqueFd binary_;
  std::vector<UniqueFd> cgroup_files_;  // each takes a "0" of who wants to move there
};

}  // namespace berth::runtime
