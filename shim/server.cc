#include "shim/server.h"

#include <malloc.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/time.h"

namespace berth::shim {

namespace {

constexpr size_t kMaxConnections = 256;

template <typename T>
void Send(int socket, wire::Type type, const T& body, const std::vector<int>& fds = {}) {
  // A peer that is gone shows as a hang-up in the next poll.
  (void)SendPacket(socket, wire::Pack(type, body), fds);
}

}  // namespace

Server::Server(UniqueFd listener, UniqueFd signals, UniqueFd state_dir)
    : listener_(std::move(listener)),
      signals_(std::move(signals)),
      state_dir_(std::move(state_dir)),
      children_(signals_.get()),
      container_(state_dir_.get(), children_) {}

void Server::Run() {
  while (!done_) WaitOnce();
}

void Server::WaitOnce() {
  std::vector<pollfd> fds = {
      {signals_.get(), POLLIN, 0},
      {connections_.size() < kMaxConnections ? listener_.get() : -1, POLLIN, 0},
      {container_.out_fd(), POLLIN, 0},
      {container_.err_fd(), POLLIN, 0},
  };
  const size_t first = fds.size();
  for (const Connection& connection : connections_)
    fds.push_back({connection.socket.get(), POLLIN, 0});
  for (const auto& [number, exec] : execs_) {
    if (exec.sync.ok()) fds.push_back({exec.sync.get(), POLLIN, 0});
  }
  if (poll(fds.data(), fds.size(), TimeoutMs()) < 0) return;

  // Before requests are served: whoever has heard that its exec was killed must not find it, as a
  // zombie, with the next one.
  if (fds[0].revents != 0) {
    signalfd_siginfo info{};
    (void)!read(signals_.get(), &info, sizeof info);
    NoteEnded();
  }
  AdvanceStarts(fds);
  for (size_t i = 0; i < connections_.size(); ++i) {
    if (fds[first + i].revents != 0) Serve(connections_[i]);
    if (children_.HasEnded()) NoteEnded();
  }
  if (fds[2].revents != 0) container_.ReadOutput(fds[2].fd);
  if (fds[3].revents != 0) container_.ReadOutput(fds[3].fd);
  if (container_.FinishIfDrained()) PublishExit();
  std::erase_if(connections_, [](const Connection& connection) { return connection.closing; });
  if (fds[1].revents != 0) Accept();
}

void Server::Accept() {
  auto socket = AcceptSocket(listener_.get());
  if (!socket.ok()) return;
  auto peer = PeerOf(socket->get());
  if (!peer.ok() || peer->uid != 0) return;
  Connection connection;
  connection.socket = std::move(*socket);
  connections_.push_back(std::move(connection));
}

int Server::TimeoutMs() const {
  int timeout = container_.DrainTimeoutMs();
  for (const auto& [number, exec] : execs_) {
    if (!exec.sync.ok()) continue;
    const int64_t left = std::max<int64_t>(exec.start_deadline_ns - MonotonicNs(), 0);
    const int left_ms = static_cast<int>(left / 1'000'000 + 1);
    timeout = timeout < 0 ? left_ms : std::min(timeout, left_ms);
  }
  return timeout;
}

Server::Connection* Server::ConnectionOf(int exec) {
  for (Connection& connection : connections_) {
    if (connection.exec == exec) return &connection;
  }
  return nullptr;
}

void Server::AdvanceStarts(const std::vector<pollfd>& fds) {
  for (auto& [number, exec] : execs_) {
    const int sync = exec.sync.get();
    const bool readable =
        sync >= 0 && std::any_of(fds.begin(), fds.end(), [sync](const pollfd& fd) {
          return fd.fd == sync && fd.revents != 0;
        });
    if (readable) Advance(number, exec);
    if (auto late = GiveUpLateStart(exec)) AnswerExec(number, exec, *late);
  }
}

void Server::Advance(int number, ExecProcess& exec) {
  auto executed = AdvanceStart(exec);
  if (!executed.ok()) return AnswerExec(number, exec, std::move(executed).error());
  if (*executed) AnswerExec(number, exec, Ok());
}

void Server::NoteEnded() {
  while (auto ended = children_.Next()) {
    const int status = ended->wait_status;
    if (ended->pid == container_.init_pid()) {
      container_.OnInitExit(status, ended->ended_at_ns);
      continue;
    }
    auto exec = std::find_if(execs_.begin(), execs_.end(), [&ended](const auto& entry) {
      return entry.second.pid == ended->pid;
    });
    if (exec == execs_.end()) continue;  // an orphan of the container that came to us as subreaper
    wire::ExitStatus exit;
    exit.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    exit.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    exit.finished_at_ns = ended->ended_at_ns;
    // It has said all that it will, up to the end of file.
    while (exec->second.sync.ok()) Advance(exec->first, exec->second);
    if (!RemoveExecCgroup(exec->second.cgroup)) busy_cgroups_.push_back(exec->second.cgroup);
    if (Connection* connection = ConnectionOf(exec->first)) {
      connection->exec = 0;
      Send(connection->socket.get(), wire::Type::kExecExited, exit);
    }
    execs_.erase(exec);
  }
  // Their processes may have been those that have just gone.
  std::erase_if(busy_cgroups_, RemoveExecCgroup);
}

void Server::Serve(Connection& connection) {
  auto packet = ReceivePacket(connection.socket.get());
  if (!packet.ok() || packet->bytes.empty()) {
    Close(connection);
    return;
  }
  auto message = wire::Unpack(packet->bytes);
  if (!message.ok()) {
    Answer(connection, std::move(message).error());
    return;
  }
  Handle(connection, *message, *packet);
}

void Server::Handle(Connection& connection, const wire::Unpacked& message, Packet& packet) {
  switch (message.type) {
    case wire::Type::kLaunch:
      return Launch(connection, packet);
    case wire::Type::kWatch:
      return Watch(connection);
    case wire::Type::kSignal: {
      auto signal = wire::Decode<wire::Signal>(message.body);
      return Answer(connection, signal.ok() ? container_.Signal(signal->number)
                                            : Status(std::move(signal).error()));
    }
    case wire::Type::kReopenLog:
      return Answer(connection, container_.ReopenLog());
    case wire::Type::kExec:
      return Exec(connection, message.body);
    case wire::Type::kAttach:
      return Attach(connection, message.body);
    case wire::Type::kInputEnded:
      return EndInput(connection);
    case wire::Type::kAcknowledge:
      done_ = container_.phase() == Container::Phase::kExited;
      return;
    default:
      return Answer(connection, Error(Code::kInvalidArgument, "not a request to a shim"));
  }
}

void Server::Launch(Connection& connection, Packet& packet) {
  if (container_.phase() != Container::Phase::kNew) {
    return Answer(connection, Error(Code::kFailedPrecondition, "launched already"));
  }
  if (packet.fds.empty()) {
    return Answer(connection, Error(Code::kInvalidArgument, "launch without a root file system"));
  }
  Status status = container_.Launch(std::move(packet.fds));
  if (!status.ok()) {
    Answer(connection, status);
    done_ = true;
    return;
  }
  connection.watching = true;
  Send(connection.socket.get(), wire::Type::kLaunched, container_.state());
}

void Server::Watch(Connection& connection) {
  connection.watching = true;
  Send(connection.socket.get(), wire::Type::kState, container_.state());
}

void Server::Exec(Connection& connection, std::string_view body) {
  auto request = wire::Decode<wire::Exec>(body);
  if (!request.ok()) return Answer(connection, std::move(request).error());
  if (container_.phase() != Container::Phase::kRunning) {
    return Answer(connection, Error(Code::kFailedPrecondition, "container is not running"));
  }
  const int number = next_exec_++;
  auto exec = StartExec(*request, state_dir_.get(), container_.init_pidfd(), number,
                        container_.oci_runtime());
  if (!exec.ok()) return Answer(connection, std::move(exec).error());
  connection.exec = number;
  ExecProcess& kept = execs_.emplace(number, std::move(*exec)).first->second;
  if (!kept.sync.ok()) AnswerExec(number, kept, Ok());
  malloc_trim(0);
}

void Server::AnswerExec(int number, ExecProcess& exec, const Status& started) {
  Connection* connection = ConnectionOf(number);
  if (connection != nullptr && started.ok()) {
    wire::State state;
    state.pid = exec.pid;
    std::vector<int> fds;
    for (const UniqueFd& stream : exec.streams) fds.push_back(stream.get());
    Send(connection->socket.get(), wire::Type::kExecStarted, state, fds);
  } else if (connection != nullptr) {
    connection->exec = 0;
    Answer(*connection, started);
  }
  exec.streams.clear();
}

void Server::Attach(Connection& connection, std::string_view body) {
  auto request = wire::Decode<wire::Attach>(body);
  if (!request.ok()) return Answer(connection, std::move(request).error());
  if (connection.attached) {
    return Answer(connection, Error(Code::kFailedPrecondition, "attached already"));
  }
  Status status = container_.Attach(connection.socket.get(), *request);
  if (!status.ok()) return Answer(connection, status);
  connection.attached = true;
  connection.ends_input = request->in && request->stdin_once;
}

void Server::EndInput(Connection& connection) {
  if (std::exchange(connection.ends_input, false)) container_.EndInput();
}

void Server::Close(Connection& connection) {
  connection.closing = true;
  if (connection.attached) container_.attachments().Remove(connection.socket.get());
  EndInput(connection);
  auto exec = execs_.find(connection.exec);
  // Nobody waits for it any more: the caller gave up or its time is over.
  if (exec != execs_.end()) KillExec(exec->second);
  // Without a launch there is nothing to stay for.
  if (container_.phase() == Container::Phase::kNew) done_ = true;
}

void Server::Answer(Connection& connection, const Status& status) {
  if (status.ok()) {
    (void)SendPacket(connection.socket.get(), wire::Pack(wire::Type::kDone));
  } else {
    Send(connection.socket.get(), wire::Type::kFailed, wire::ToFailure(status.error()));
  }
}

void Server::PublishExit() {
  // Before anyone learns of the exit and removes what the runtime still has of the container; the
  // record of it is on the disk by now.
  if (container_.oci_runtime() != nullptr) container_.oci_runtime()->Delete();
  container_.RunPoststopHooks();
  container_.attachments().EndAll();
  for (const Connection& connection : connections_) {
    if (connection.watching)
      Send(connection.socket.get(), wire::Type::kExited, container_.state().exit);
  }
}

}  // namespace berth::shim
