// The gRPC server on a unix socket.
#pragma once

#include <grpcpp/server.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "cri/call_stats.h"

namespace berth::cri {

struct ServerOptions {
  std::string socket;  // absolute path
  int socket_gid = 0;
  CallStats* stats = nullptr;  // told of every call; must outlive the server
};

// Synchronous services, as many threads as there are calls, interceptors as in cri/call_log.h.
class Server {
 public:
  // Serves from now on. The socket has mode 0660 and appears in its place in one step, so that
  // nobody can connect before that. A socket that nobody listens on is replaced; FailedPrecondition
  // if somebody does, or if something else than a socket is there. The services must outlive the
  // server.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                               const std::vector<grpc::Service*>& services);
  // Stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes no more calls, gives those under way `grace_ms`, cancels what is left and waits for it.
  // Removes the socket unless another server has replaced it.
  void Stop(int64_t grace_ms = 0);

 private:
  Server() = default;
  Status Listen(const ServerOptions& options, const std::vector<grpc::Service*>& services);
  Status Publish(int gid);
  void Unpublish();

  UniqueFd directory_;  // the socket's
  std::string name_;    // in it
  UniqueFd staging_;    // a private directory in which the socket is made
  uint64_t inode_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace berth::cri
