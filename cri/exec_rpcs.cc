#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_request.h"

namespace berth::cri {

namespace {

Result<std::vector<std::string>> CommandOf(
    const google::protobuf::RepeatedPtrField<std::string>& command) {
  if (command.empty() || command[0].empty()) return Error(Code::kInvalidArgument, "cmd: missing");
  size_t total = 0;
  for (const std::string& part : command) {
    RETURN_IF_ERROR(CheckArgumentSize(part.size(), "cmd"));
    total += part.size() + 1;
  }
  if (total > kMaxArgumentBytes) {
    return Error(Code::kInvalidArgument,
                 StrCat("cmd: ", total, " bytes, at most ", kMaxArgumentBytes, " are possible"));
  }
  return std::vector<std::string>(command.begin(), command.end());
}

}  // namespace

grpc::Status RuntimeService::ExecSync(grpc::ServerContext* call, const pb::ExecSyncRequest* request,
                                      pb::ExecSyncResponse* response) {
  return Answer([&]() -> berth::Status {
    RETURN_IF_ERROR(RequireId(request->container_id(), "container_id"));
    ASSIGN_OR_RETURN(auto command, CommandOf(request->cmd()));
    ASSIGN_OR_RETURN(int64_t timeout, SecondsOf(request->timeout(), "timeout"));
    ASSIGN_OR_RETURN(auto result, runtime_.execs().ExecSync(Bounded(*call), request->container_id(),
                                                            command, timeout));
    response->set_stdout(std::move(result.out));
    response->set_stderr(std::move(result.err));
    response->set_exit_code(result.exit_code);
    return Ok();
  });
}

}  // namespace berth::cri
