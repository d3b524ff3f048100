#include "cri/server.h"

#include <fcntl.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/socket.h"
#include "cri/call_log.h"
#include "cri/unreadable.h"

namespace berth::cri {

namespace {

constexpr int kMaxRequestBytes = 16 << 20;
constexpr const char* kStagedName = "s";

std::string StagingName(const std::string& socket_name) {
  return StrCat(".", socket_name, ".new");
}

// Fine if nothing is there or a socket that nobody listens on.
Status CheckFree(int directory, const std::string& name) {
  struct stat info {};
  if (fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Ok() : Status(ErrnoError("stat"));
  }
  if (!S_ISSOCK(info.st_mode)) return Error(Code::kFailedPrecondition, "is there and not a socket");
  UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!client.ok()) return ErrnoError("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = StrCat(FdPath(directory), "/", name);
  if (path.size() >= sizeof address.sun_path) return ErrnoError(ENAMETOOLONG, name);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return errno == ECONNREFUSED || errno == ENOENT ? Ok() : Status(ErrnoError("connect"));
  }
  ASSIGN_OR_RETURN(auto peer, PeerOf(client.get()));
  return Error(Code::kFailedPrecondition, StrCat("process ", peer.pid, " serves it already"));
}

void Configure(grpc::ServerBuilder& builder, CallStats* stats) {
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  builder.SetMaxSendMessageSize(-1);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  // Channelz keeps a history of every call and connection in memory.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
  // On a local socket there is no bandwidth to probe.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<CallLog>(stats));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                              const std::vector<grpc::Service*>& services) {
  std::unique_ptr<Server> server(new Server());
  RETURN_IF_ERROR(server->Listen(options, services), "listen on ", options.socket);
  return server;
}

Status Server::Listen(const ServerOptions& options, const std::vector<grpc::Service*>& services) {
  size_t slash = options.socket.rfind('/');
  std::string parent = slash == 0 ? "/" : options.socket.substr(0, slash);
  name_ = options.socket.substr(slash + 1);
  RETURN_IF_ERROR(MakeDirs(parent, 0755));
  ASSIGN_OR_RETURN(directory_, Open(parent, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(CheckFree(directory_.get(), name_));

  RETURN_IF_ERROR(RemoveTreeAt(directory_.get(), StagingName(name_)));
  RETURN_IF_ERROR(MakeDirAt(directory_.get(), StagingName(name_), 0700));
  ASSIGN_OR_RETURN(
      staging_, OpenAt(directory_.get(), StagingName(name_), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  KeepUnreadableReasons();
  grpc::ServerBuilder builder;
  Configure(builder, options.stats);
  for (grpc::Service* service : services) builder.RegisterService(service);
  // Through the descriptor, since a socket's address has room for 107 bytes only.
  builder.AddListeningPort(StrCat("unix:", FdPath(staging_.get()), "/", kStagedName),
                           grpc::InsecureServerCredentials());
  server_ = builder.BuildAndStart();
  if (!server_) return Error(Code::kInternal, "gRPC cannot serve on it");
  return Publish(options.socket_gid);
}

Status Server::Publish(int gid) {
  if (fchownat(staging_.get(), kStagedName, static_cast<uid_t>(-1), static_cast<gid_t>(gid),
               AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(StrCat("chown to group ", gid));
  }
  if (fchmodat(staging_.get(), kStagedName, 0660, 0) != 0) return ErrnoError("chmod");
  struct stat info {};
  if (fstatat(staging_.get(), kStagedName, &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("stat");
  }
  inode_ = info.st_ino;
  if (renameat(staging_.get(), kStagedName, directory_.get(), name_.c_str()) != 0) {
    return ErrnoError("rename");
  }
  unlinkat(directory_.get(), StagingName(name_).c_str(), AT_REMOVEDIR);
  return Ok();
}

void Server::Unpublish() {
  struct stat info {};
  if (inode_ == 0 || fstatat(directory_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return;
  }
  if (info.st_ino == inode_) unlinkat(directory_.get(), name_.c_str(), 0);
  inode_ = 0;
}

Server::~Server() {
  Stop();
}

void Server::Stop(int64_t grace_ms) {
  if (!server_) return;
  Unpublish();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
  server_.reset();
}

}  // namespace berth::cri
