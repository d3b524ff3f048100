#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_request.h"

namespace berth::cri {

namespace {

Result<std::vector<std::string>> CommandOf(
    const google::protobuf::RepeatedPtrField<std::string>& command) {
  std::vector<std::string> words(command.begin(), command.end());
  RETURN_IF_ERROR(runtime::CheckExecCommand(words));
  return words;
}

// Of Exec and Attach.
template <typename Request>
Result<stream::StandardStreams> StreamsOf(const Request& request) {
  // The streams of a terminal are one.
  if (request.tty() && request.stderr()) {
    return Error(Code::kInvalidArgument, "stderr: there is none with tty");
  }
  if (!request.stdin() && !request.stdout() && !request.stderr()) {
    return Error(Code::kInvalidArgument, "stdin, stdout, stderr: one of them must be asked for");
  }
  stream::StandardStreams streams;
  streams.in = request.stdin();
  streams.out = request.stdout();
  streams.err = request.stderr();
  streams.terminal = request.tty();
  return streams;
}

Result<std::vector<uint16_t>> PortsOf(const google::protobuf::RepeatedField<int32_t>& ports) {
  constexpr int kMaxPorts = 100;
  if (ports.size() > kMaxPorts) {
    return Error(Code::kInvalidArgument,
                 StrCat("port: ", ports.size(), " are too many, at most ", kMaxPorts));
  }
  std::vector<uint16_t> out;
  for (int32_t port : ports) {
    if (port < 1 || port > UINT16_MAX) {
      return Error(Code::kInvalidArgument, StrCat("port: ", port, " is not in 1 to 65535"));
    }
    out.push_back(static_cast<uint16_t>(port));
  }
  return out;
}

}  // namespace

grpc::Status RuntimeService::ExecSync(grpc::ServerContext* call, const pb::ExecSyncRequest* request,
                                      pb::ExecSyncResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    ASSIGN_OR_RETURN(auto command, CommandOf(request->cmd()));
    ASSIGN_OR_RETURN(int64_t timeout, SecondsOf(request->timeout(), "timeout"));
    ASSIGN_OR_RETURN(auto result,
                     runtime_.execs().ExecSync(Bounded(*call), request->container_id(), command,
                                               timeout, [call] { return call->IsCancelled(); }));
    response->set_stdout(std::move(result.out));
    response->set_stderr(std::move(result.err));
    response->set_exit_code(result.exit_code);
    return Ok();
  });
}

grpc::Status RuntimeService::Exec(grpc::ServerContext*, const pb::ExecRequest* request,
                                  pb::ExecResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    stream::ExecRequest exec;
    ASSIGN_OR_RETURN(exec.command, CommandOf(request->cmd()));
    ASSIGN_OR_RETURN(exec.streams, StreamsOf(*request));
    ASSIGN_OR_RETURN(exec.container_id, runtime_.execs().RunningContainer(request->container_id()));
    ASSIGN_OR_RETURN(*response->mutable_url(), streams_.Url(std::move(exec)));
    return Ok();
  });
}

grpc::Status RuntimeService::Attach(grpc::ServerContext*, const pb::AttachRequest* request,
                                    pb::AttachResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    stream::AttachRequest attach;
    ASSIGN_OR_RETURN(attach.streams, StreamsOf(*request));
    ASSIGN_OR_RETURN(attach.container_id,
                     runtime_.execs().RunningContainer(request->container_id()));
    ASSIGN_OR_RETURN(*response->mutable_url(), streams_.Url(std::move(attach)));
    return Ok();
  });
}

grpc::Status RuntimeService::PortForward(grpc::ServerContext*,
                                         const pb::PortForwardRequest* request,
                                         pb::PortForwardResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->pod_sandbox_id(), "pod_sandbox_id"));
    stream::PortForwardRequest forward;
    ASSIGN_OR_RETURN(forward.ports, PortsOf(request->port()));
    ASSIGN_OR_RETURN(forward.pod_id, runtime_.execs().ReadyPod(request->pod_sandbox_id()));
    ASSIGN_OR_RETURN(*response->mutable_url(), streams_.Url(std::move(forward)));
    return Ok();
  });
}

}  // namespace berth::cri
