#include "runtime/exec_manager.h"

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <optional>

#include "runtime/core.h"

namespace berth::runtime {

namespace {

// After the process has ended, output that others still hold open is waited for no longer than
// this.
constexpr int64_t kDrainMs = 1'000;

// Reads one stream without ever stopping the writer: what is beyond the cap is dropped.
class Collector {
 public:
  Collector(UniqueFd fd, std::string& text) : fd_(std::move(fd)), text_(text) {}
  int fd() const { return fd_.get(); }
  void ReadOnce() {
    char buffer[16384];
    auto n = ReadSome(fd_.get(), buffer, sizeof buffer);
    if (!n.ok() || *n == 0) {
      fd_.Reset();
      return;
    }
    text_.append(buffer, std::min(*n, kMaxExecOutputBytes - text_.size()));
  }

 private:
  UniqueFd fd_;
  std::string& text_;
};

// Reads both streams until they end and, if `until` (>= 0) becomes readable first, until then.
Status Collect(const Context& context, std::array<Collector, 2>& streams, int until,
               const std::function<bool()>& abandoned) {
  while (until >= 0 || streams[0].fd() >= 0 || streams[1].fd() >= 0) {
    pollfd fds[3] = {
        {streams[0].fd(), POLLIN, 0}, {streams[1].fd(), POLLIN, 0}, {until, POLLIN, 0}};
    RETURN_IF_ERROR(context.Check("exec"));
    if (abandoned()) return Error(Code::kCancelled, "nobody waits for it any more");
    if (poll(fds, 3, std::min(context.RemainingMs(), 250)) < 0 && errno != EINTR)
      return ErrnoError("poll");
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents != 0) streams[static_cast<size_t>(i)].ReadOnce();
    }
    if (until >= 0 && fds[2].revents != 0) return Ok();
  }
  return Ok();
}

// What a shell answers for a command that it cannot execute; nothing for any other failure. The
// shim's child says InvalidArgument with the errno of its execve(2).
std::optional<int32_t> ShellExitCode(const Error& error) {
  if (error.code() != Code::kInvalidArgument) return std::nullopt;
  switch (error.sys_errno()) {
    case ENOENT:
      return 127;
    case EACCES:
    case EPERM:
    case ENOEXEC:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ETXTBSY:
      return 126;
    default:
      return std::nullopt;
  }
}

Status DoNotBlock(const UniqueFd& fd) {
  if (!fd.ok()) return Ok();
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) return ErrnoError("fcntl");
  return Ok();
}

Status DoNotBlock(const ProcessStreams& streams) {
  RETURN_IF_ERROR(DoNotBlock(streams.in));
  RETURN_IF_ERROR(DoNotBlock(streams.out));
  return DoNotBlock(streams.err);
}

}  // namespace

Status CheckExecCommand(const std::vector<std::string>& command) {
  if (command.empty() || command[0].empty()) return Error(Code::kInvalidArgument, "cmd: missing");
  size_t bytes = 0;
  for (const std::string& arg : command) {
    // A program would see no more than what is before it.
    if (arg.find('\0') != std::string::npos) {
      return Error(Code::kInvalidArgument,
                   StrCat("cmd: \"", Printable(arg, 64), "\" has a NUL byte"));
    }
    bytes += arg.size();
  }
  if (bytes + 16 * command.size() <= (60 << 10)) return Ok();
  return Error(Code::kInvalidArgument, StrCat("cmd: ", bytes, " bytes in ", command.size(),
                                              " words are more than the 60 KiB that are possible"));
}

ExecManager::ExecManager(Core& core) : core_(core) {}

Result<std::string> ExecManager::RunningContainer(const std::string& id) const {
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id));
  const auto [full_id, running] = entry->With([](const ContainerRecord& record) {
    return std::pair(record.container.id, record.phase == ContainerPhase::kRunning);
  });
  if (!running) {
    return Error(Code::kFailedPrecondition, StrCat("container ", full_id, " is not running"));
  }
  return full_id;
}

Result<ProcessStreams> ExecManager::Start(const Context& context, const std::string& container_id,
                                          const ExecOptions& options) {
  RETURN_IF_ERROR(CheckExecCommand(options.command));
  ASSIGN_OR_RETURN(const std::string id, RunningContainer(container_id));
  ProcessStreams streams;
  ASSIGN_OR_RETURN(auto shim, core_.ConnectShim(id));
  shim::wire::Exec request;
  request.args = options.command;
  request.terminal = options.terminal;
  request.in = options.in && !options.terminal;
  auto exec = shim.StartExec(context, request);
  if (!exec.ok()) {
    const auto exit_code = ShellExitCode(exec.error());
    if (!exit_code) return std::move(exec).error();
    streams.failure = exec.error().message() + "\n";
    streams.failure_exit_code = *exit_code;
    return streams;
  }
  const size_t expected = options.terminal ? 1 : request.in ? 3 : 2;
  if (exec->streams.size() != expected) {
    return Error(Code::kInternal, "the shim sent other streams than were asked for");
  }
  streams.out = std::move(exec->streams[0]);
  if (options.terminal) {
    ASSIGN_OR_RETURN(streams.terminal, Duplicate(streams.out.get()));
  }
  if (options.terminal && options.in) {
    ASSIGN_OR_RETURN(streams.in, Duplicate(streams.out.get()));
  }
  if (!options.terminal) streams.err = std::move(exec->streams[1]);
  if (request.in) streams.in = std::move(exec->streams[2]);
  streams.shim = std::make_shared<ShimClient>(std::move(shim));
  RETURN_IF_ERROR(DoNotBlock(streams));
  return streams;
}

Result<ExecResult> ExecManager::ExecSync(const Context& context, const std::string& container_id,
                                         const std::vector<std::string>& command, int64_t timeout_s,
                                         const std::function<bool()>& abandoned) {
  const std::string what = StrCat("exec in container ", Printable(container_id));
  if (timeout_s < 0) return Error(Code::kInvalidArgument, StrCat(what, ": timeout is negative"));
  const Context limited = timeout_s > 0 ? context.Timeout(timeout_s * 1000) : context;
  ASSIGN_OR_RETURN(auto exec, Start(limited, container_id, {.command = command}), what);
  ExecResult result;
  if (exec.failure_exit_code != 0) {
    result.err = std::move(exec.failure);
    result.exit_code = exec.failure_exit_code;
    return result;
  }
  std::array<Collector, 2> streams = {Collector(std::move(exec.out), result.out),
                                      Collector(std::move(exec.err), result.err)};
  // On the deadline the connection closes on return, and the shim kills the process and its
  // children.
  RETURN_IF_ERROR(Collect(limited, streams, exec.shim->fd(), abandoned), what);
  ASSIGN_OR_RETURN(auto exit, exec.shim->ExecExit(limited), what);
  (void)Collect(limited.Timeout(kDrainMs), streams, /*until=*/-1, abandoned);
  result.exit_code = exit.exit_code;
  return result;
}

Result<ProcessStreams> ExecManager::Attach(const Context& context, const std::string& container_id,
                                           const AttachOptions& options) {
  ASSIGN_OR_RETURN(const std::string id, RunningContainer(container_id));
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(id));
  shim::wire::Attach request;
  request.out = options.out;
  request.err = options.err;
  entry->With([&](const ContainerRecord& record) {
    request.in = options.in && record.container.config.stdin;
    request.stdin_once = record.container.config.stdin_once;
  });
  ASSIGN_OR_RETURN(auto shim, core_.ConnectShim(id));
  ASSIGN_OR_RETURN(auto attachment, shim.Attach(context, request));
  ProcessStreams streams;
  if (!attachment.terminal) {
    streams.in = std::move(attachment.in);
  } else {
    streams.terminal = std::move(attachment.in);
    if (request.in) {
      ASSIGN_OR_RETURN(streams.in, Duplicate(streams.terminal.get()));
    }
  }
  streams.out = std::move(attachment.out);
  streams.err = std::move(attachment.err);
  streams.shim = std::make_shared<ShimClient>(std::move(shim));
  RETURN_IF_ERROR(DoNotBlock(streams));
  return streams;
}

}  // namespace berth::runtime
