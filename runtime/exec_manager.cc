#include "runtime/exec_manager.h"

#include <poll.h>

#include <array>

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
Status Collect(const Context& context, std::array<Collector, 2>& streams, int until) {
  while (until >= 0 || streams[0].fd() >= 0 || streams[1].fd() >= 0) {
    pollfd fds[3] = {
        {streams[0].fd(), POLLIN, 0}, {streams[1].fd(), POLLIN, 0}, {until, POLLIN, 0}};
    RETURN_IF_ERROR(context.Check("exec"));
    if (poll(fds, 3, std::min(context.RemainingMs(), 250)) < 0 && errno != EINTR)
      return ErrnoError("poll");
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents != 0) streams[static_cast<size_t>(i)].ReadOnce();
    }
    if (until >= 0 && fds[2].revents != 0) return Ok();
  }
  return Ok();
}

}  // namespace

ExecManager::ExecManager(Core& core) : core_(core) {}

Result<ExecResult> ExecManager::ExecSync(const Context& context, const std::string& container_id,
                                         const std::vector<std::string>& command,
                                         int64_t timeout_s) {
  const std::string what = StrCat("exec in container ", Printable(container_id));
  if (command.empty()) return Error(Code::kInvalidArgument, StrCat(what, ": cmd is empty"));
  if (timeout_s < 0) return Error(Code::kInvalidArgument, StrCat(what, ": timeout is negative"));
  ASSIGN_OR_RETURN(auto entry, core_.FindContainer(container_id), what);
  const auto [id, running] = entry->With([](const ContainerRecord& record) {
    return std::pair(record.container.id, record.phase == ContainerPhase::kRunning);
  });
  if (!running) return Error(Code::kFailedPrecondition, StrCat(what, ": it is not running"));
  size_t bytes = 0;
  for (const std::string& arg : command) bytes += arg.size() + 16;
  if (bytes > (60 << 10))
    return Error(Code::kInvalidArgument, StrCat(what, ": cmd is longer than 60 KiB"));

  const Context limited = timeout_s > 0 ? context.Timeout(timeout_s * 1000) : context;
  ASSIGN_OR_RETURN(auto shim, core_.ConnectShim(id), what);
  shim::wire::Exec request;
  request.args = command;
  ASSIGN_OR_RETURN(auto exec, shim.StartExec(limited, request), what);
  if (exec.streams.size() != 2) return Error(Code::kInternal, StrCat(what, ": no output streams"));

  ExecResult result;
  std::array<Collector, 2> streams = {Collector(std::move(exec.streams[0]), result.out),
                                      Collector(std::move(exec.streams[1]), result.err)};
  // On the deadline the connection closes on return, and the shim kills the process and its
  // children.
  RETURN_IF_ERROR(Collect(limited, streams, shim.fd()), what);
  ASSIGN_OR_RETURN(auto exit, shim.ExecExit(limited), what);
  (void)Collect(limited.Timeout(kDrainMs), streams, /*until=*/-1);
  result.exit_code = exit.exit_code;
  return result;
}

}  // namespace berth::runtime
