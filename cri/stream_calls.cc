#include "cri/stream_calls.h"

namespace berth::cri {

namespace {

// The message is there already when it is read.
constexpr int64_t kReadMs = 1000;

stream::Process ProcessOf(runtime::ProcessStreams streams) {
  stream::Process process;
  process.in = std::move(streams.in);
  process.out = std::move(streams.out);
  process.err = std::move(streams.err);
  process.terminal = std::move(streams.terminal);
  process.failure = std::move(streams.failure);
  return process;
}

Result<stream::Process> Exec(runtime::ExecManager& execs, const Context& context,
                             const stream::ExecRequest& request) {
  runtime::ExecOptions options;
  options.command = request.command;
  options.terminal = request.streams.terminal;
  options.in = request.streams.in;
  ASSIGN_OR_RETURN(auto started, execs.Start(context, request.container_id, options),
                   "exec in container ", request.container_id);
  const auto shim = started.shim;
  const int32_t failure_exit_code = started.failure_exit_code;
  stream::Process process = ProcessOf(std::move(started));
  if (!shim) {
    process.ending = [failure_exit_code] { return Result<int32_t>(failure_exit_code); };
    return process;
  }
  process.ended_fd = shim->fd();
  process.ending = [shim]() -> Result<int32_t> {
    ASSIGN_OR_RETURN(auto exit, shim->ExecExit(Context::WithTimeoutMs(kReadMs)));
    return exit.exit_code;
  };
  return process;
}

Result<stream::Process> Attach(runtime::ExecManager& execs, const Context& context,
                               const stream::AttachRequest& request) {
  runtime::AttachOptions options;
  options.in = request.streams.in;
  options.out = request.streams.out;
  options.err = request.streams.err;
  ASSIGN_OR_RETURN(auto attached, execs.Attach(context, request.container_id, options),
                   "attach to container ", request.container_id);
  const auto shim = attached.shim;
  stream::Process process = ProcessOf(std::move(attached));
  process.ended_fd = shim->fd();
  process.ending = [shim]() -> Result<int32_t> {
    ASSIGN_OR_RETURN(auto end, shim->AttachEnd(Context::WithTimeoutMs(kReadMs)));
    if (!end.too_slow) return 0;
    return Error(Code::kResourceExhausted,
                 "attach: cut off, since the client was too far behind the container's output; "
                 "the log has all of it");
  };
  process.input_ended = [shim] { (void)shim->InputEnded(); };
  return process;
}

}  // namespace

stream::RuntimeCalls StreamCallsOf(runtime::Runtime& runtime) {
  runtime::ExecManager& execs = runtime.execs();
  stream::RuntimeCalls calls;
  calls.exec = [&execs](const Context& context, const stream::ExecRequest& request) {
    return Exec(execs, context, request);
  };
  calls.attach = [&execs](const Context& context, const stream::AttachRequest& request) {
    return Attach(execs, context, request);
  };
  calls.pod_socket = [&execs](const std::string& pod_id, int family) {
    return execs.PodSocket(pod_id, family);
  };
  return calls;
}

}  // namespace berth::cri
