#include "daemon/watchdog.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <future>
#include <memory>

#include "cri/proto/api.grpc.pb.h"
#include "cri/proto/api.pb.h"

namespace berth::daemon {

namespace {

namespace v1 = ::runtime::v1;
using std::chrono::milliseconds;
using std::chrono::system_clock;

Status CheckLoop(EventLoop& loop, int64_t timeout_ms) {
  // Shared with the task, which may come when nobody waits any more.
  auto ran = std::make_shared<std::promise<void>>();
  auto done = ran->get_future();
  loop.Post([ran] { ran->set_value(); });
  if (done.wait_for(milliseconds(timeout_ms)) == std::future_status::ready) return Ok();
  return Error(Code::kDeadlineExceeded,
               StrCat("the event loop has run nothing for ", timeout_ms, " ms"));
}

Status CheckServer(const std::string& socket, int64_t timeout_ms) {
  // A connection of its own each time: one that stands proves nothing about the next client's, and
  // costs memory all the while.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel =
      grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
  auto stub = v1::RuntimeService::NewStub(channel);
  grpc::ClientContext call;
  call.set_deadline(system_clock::now() + milliseconds(timeout_ms));
  v1::ListPodSandboxRequest request;
  request.mutable_filter()->set_id("-");  // no pod's
  v1::ListPodSandboxResponse response;
  grpc::Status status = stub->ListPodSandbox(&call, request, &response);
  if (status.ok()) return Ok();
  const bool late = status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  return Error(late ? Code::kDeadlineExceeded : Code::kUnavailable,
               StrCat("a call through ", socket, ": ", status.error_message()));
}

}  // namespace

Status CheckAlive(EventLoop& loop, const std::string& socket, int64_t timeout_ms) {
  RETURN_IF_ERROR(CheckLoop(loop, timeout_ms));
  return CheckServer(socket, timeout_ms);
}

}  // namespace berth::daemon
