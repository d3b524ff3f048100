#include "shim/pod_namespaces.h"

#include <fcntl.h>
#include <sched.h>

#include <vector>

#include "base/file.h"
#include "base/socket.h"
#include "shim/user_namespace.h"
#include "shim/wire/messages.h"

namespace berth::shim {

namespace {

struct Kind {
  int flag;
  const char* path;
};
constexpr Kind kKinds[] = {{CLONE_NEWNET, "/proc/self/ns/net"},
                           {CLONE_NEWIPC, "/proc/self/ns/ipc"},
                           {CLONE_NEWUTS, "/proc/self/ns/uts"}};

// In the order of the answer.
Result<std::vector<UniqueFd>> Make(const wire::MakeNamespaces& request) {
  std::vector<UniqueFd> made;
  ASSIGN_OR_RETURN(auto user, MakeUserNamespace(request.uids, request.gids));
  RETURN_IF_ERROR(EnterUserNamespaceInChild(user.get()));
  made.push_back(std::move(user));
  if (request.flags != 0 && unshare(request.flags) != 0) return ErrnoError("unshare");
  for (const Kind& kind : kKinds) {
    if ((request.flags & kind.flag) == 0) continue;
    ASSIGN_OR_RETURN(auto fd, Open(kind.path, O_RDONLY));
    made.push_back(std::move(fd));
  }
  return made;
}

Result<std::vector<UniqueFd>> Serve() {
  ASSIGN_OR_RETURN(auto packet, ReceivePacket(0));
  ASSIGN_OR_RETURN(auto message, wire::Unpack(packet.bytes));
  if (message.type != wire::Type::kMakeNamespaces) {
    return Error(Code::kInvalidArgument, "not a request for namespaces");
  }
  ASSIGN_OR_RETURN(auto request, wire::Decode<wire::MakeNamespaces>(message.body));
  return Make(request);
}

}  // namespace

int RunPodNamespaces() {
  auto made = Serve();
  if (!made.ok()) {
    auto failure = wire::ToFailure(made.error());
    return SendPacket(0, wire::Pack(wire::Type::kFailed, failure)).ok() ? 0 : 1;
  }
  std::vector<int> fds;
  for (const UniqueFd& fd : *made) fds.push_back(fd.get());
  return SendPacket(0, wire::Pack(wire::Type::kNamespacesMade), fds).ok() ? 0 : 1;
}

}  // namespace berth::shim
