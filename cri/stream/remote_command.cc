#include "cri/stream/remote_command.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "base/time.h"
#include "cri/stream/command_status.h"

namespace berth::cri::stream {

namespace {

constexpr int64_t kStreamCreationMs = 30'000;
// Output that others still hold open once the process has ended is waited for no longer than this.
constexpr int64_t kDrainNs = 1'000'000'000;
constexpr size_t kMaxInputBytes = 256 << 10;
constexpr size_t kBufferBytes = 64 << 10;

constexpr std::array<std::string_view, 5> kRoleNames = {"stdin", "stdout", "stderr", "error",
                                                        "resize"};

}  // namespace

RemoteCommand::RemoteCommand(Link& link, Options options)
    : link_(link), options_(std::move(options)), buffer_(kBufferBytes) {}

bool RemoteCommand::Expects(Role role) const {
  switch (role) {
    case kIn:
      return options_.streams.in;
    case kOut:
      return options_.streams.out;
    case kErr:
      return options_.streams.err;
    case kError:
      return true;
    default:
      // Versions before 3 know of no sizes.
      return options_.streams.terminal && (!options_.over_spdy || options_.version >= 3);
  }
}

bool RemoteCommand::HasAllStreams() const {
  for (int role = 0; role < kRoles; ++role) {
    if (Expects(static_cast<Role>(role)) && !streams_[static_cast<size_t>(role)]) return false;
  }
  return true;
}

std::optional<RemoteCommand::Role> RemoteCommand::RoleOf(uint32_t stream) const {
  for (size_t role = 0; role < kRoles; ++role) {
    if (streams_[role] == stream) return static_cast<Role>(role);
  }
  return std::nullopt;
}

void RemoteCommand::OnOpened(const Event& event) {
  auto type = event.headers.find("streamtype");
  for (size_t role = 0; type != event.headers.end() && role < kRoles; ++role) {
    if (type->second != kRoleNames[role] || streams_[role] || !Expects(static_cast<Role>(role))) {
      continue;
    }
    streams_[role] = event.stream;
    return;
  }
  link_.mux().Reset(event.stream);
}

Status RemoteCommand::AwaitStreams(const Context& context) {
  if (!options_.over_spdy) {
    for (size_t role = 0; role < kRoles; ++role) {
      if (Expects(static_cast<Role>(role))) streams_[role] = static_cast<uint32_t>(role);
    }
    // An empty message tells the client that all is set up.
    link_.mux().Write(options_.streams.out ? kOut : options_.streams.err ? kErr : kError, "");
    return Ok();
  }
  const Context limited = context.Timeout(kStreamCreationMs);
  std::vector<pollfd> fds(1);
  while (!HasAllStreams()) {
    ASSIGN_OR_RETURN(auto events, link_.Wait(limited, fds, /*take=*/true, -1),
                     "waiting for the client's streams");
    Handle(events);
    if (client_left_) return Error(Code::kUnavailable, "the client has gone");
  }
  return Ok();
}

Result<int32_t> RemoteCommand::Run(const Context& context) {
  RETURN_IF_ERROR(AwaitStreams(context));
  auto started = options_.start(context);
  if (!started.ok()) {
    ended_ = true;
    ending_ = std::move(started).error();
  } else {
    process_ = std::move(*started);
    outputs_[0].fd = std::move(process_.out);
    outputs_[1].fd = std::move(process_.err);
    if (size_) Resize(*size_);
    if (process_.ended_fd < 0) OnProcessEnd();
    while (!IsOver()) RETURN_IF_ERROR(RelayOnce(context));
  }
  Report(ending_);
  link_.Finish(context);
  return ending_;
}

bool RemoteCommand::WantsOutput(const Output& output) const {
  if (!output.fd.ok() || link_.Congested(options_.backlog)) return false;
  const auto& stream = streams_[output.role];
  return !stream || link_.mux().Window(*stream) > 0;
}

int RemoteCommand::WaitMs() const {
  const int64_t now = MonotonicNs();
  int64_t until = link_.last_moved_ns() + options_.idle_ms * 1'000'000;
  if (ended_) until = std::min(until, std::max(drain_until_ns_, now));
  return static_cast<int>(std::clamp<int64_t>((until - now) / 1'000'000 + 1, 0, INT32_MAX));
}

Status RemoteCommand::RelayOnce(const Context& context) {
  const bool take = InputWaiting() < kMaxInputBytes;
  std::vector<pollfd> fds = {
      {-1, 0, 0},
      {InputWaiting() > 0 ? process_.in.get() : -1, POLLOUT, 0},
      {WantsOutput(outputs_[0]) ? outputs_[0].fd.get() : -1, POLLIN, 0},
      {WantsOutput(outputs_[1]) ? outputs_[1].fd.get() : -1, POLLIN, 0},
      {ended_ ? -1 : process_.ended_fd, POLLIN, 0},
  };
  ASSIGN_OR_RETURN(auto events, link_.Wait(context, fds, take, WaitMs()));
  Handle(events);
  if (client_left_) return Error(Code::kUnavailable, "the client has gone");
  if (MonotonicNs() - link_.last_moved_ns() > options_.idle_ms * 1'000'000) {
    return Error(Code::kDeadlineExceeded, "the session was idle for too long");
  }
  WriteInput();
  if (fds[2].revents != 0) ReadOutput(outputs_[0]);
  if (fds[3].revents != 0) ReadOutput(outputs_[1]);
  if (fds[4].revents != 0) OnProcessEnd();
  return Ok();
}

void RemoteCommand::Handle(std::vector<Event>& events) {
  for (Event& event : events) HandleOne(event);
}

void RemoteCommand::HandleOne(Event& event) {
  if (event.kind == Event::Kind::kGoodbye) client_left_ = true;
  if (event.kind == Event::Kind::kOpened) return OnOpened(event);
  const auto role = RoleOf(event.stream);
  if (!role) return;
  switch (event.kind) {
    case Event::Kind::kData:
      if (*role == kIn && !input_ended_) {
        input_ += event.data;
      } else {
        link_.mux().Consumed(event.stream, event.data.size());
      }
      if (*role == kResize) {
        if (auto size = sizes_.Feed(event.data)) Resize(*size);
      }
      return;
    case Event::Kind::kEnded:
      if (*role == kIn) input_ended_ = true;
      return;
    case Event::Kind::kReset:
      // What the process writes there from now on goes nowhere.
      streams_[*role].reset();
      if (*role == kIn) input_ended_ = true;
      return;
    default:
      return;
  }
}

void RemoteCommand::Resize(TerminalSize size) {
  size_ = size;
  if (!process_.terminal.ok()) return;
  winsize window{};
  window.ws_col = size.width;
  window.ws_row = size.height;
  (void)ioctl(process_.terminal.get(), TIOCSWINSZ, &window);
}

void RemoteCommand::WriteInput() {
  while (InputWaiting() > 0) {
    ssize_t n = static_cast<ssize_t>(InputWaiting());
    // Once the process does not read any more, what the client writes goes nowhere.
    if (process_.in.ok()) {
      n = write(process_.in.get(), input_.data() + input_sent_, InputWaiting());
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (n < 0) {
        process_.in.Reset();
        continue;
      }
    }
    input_sent_ += static_cast<size_t>(n);
    if (streams_[kIn]) link_.mux().Consumed(*streams_[kIn], static_cast<size_t>(n));
  }
  if (InputWaiting() > 0) {
    // What has been written goes when it is most of what is kept.
    if (input_sent_ > kMaxInputBytes) input_.erase(0, std::exchange(input_sent_, 0));
    return;
  }
  input_.clear();
  input_sent_ = 0;
  if (input_ended_ && !input_closed_) {
    input_closed_ = true;
    process_.in.Reset();
    if (process_.input_ended) process_.input_ended();
  }
}

void RemoteCommand::ReadOutput(Output& output) {
  const auto& stream = streams_[output.role];
  const size_t room = stream ? link_.mux().Window(*stream) : SIZE_MAX;
  if (room == 0) return;  // the client has told of its window since the poll
  auto n = ReadSome(output.fd.get(), buffer_.data(), std::min(buffer_.size(), room));
  // A terminal whose processes have gone answers EIO.
  if (!n.ok() && n.error().sys_errno() == EAGAIN) return;
  if (!n.ok() || *n == 0) {
    output.fd.Reset();
    output.owed = 0;
    return;
  }
  output.owed -= static_cast<int64_t>(*n);
  if (stream) link_.mux().Write(*stream, {buffer_.data(), *n});
}

void RemoteCommand::OnProcessEnd() {
  ended_ = true;
  ending_ = process_.ending();
  process_.in.Reset();
  drain_until_ns_ = MonotonicNs() + kDrainNs;
  for (Output& output : outputs_) {
    int waiting = 0;
    if (output.fd.ok() && ioctl(output.fd.get(), FIONREAD, &waiting) == 0) output.owed = waiting;
  }
}

// What the process itself has written is owed to the client however slowly it reads; for the rest,
// from processes that it left behind, there is a moment.
bool RemoteCommand::IsOver() const {
  if (!ended_) return false;
  bool open = false;
  bool owed = false;
  for (const Output& output : outputs_) {
    open = open || output.fd.ok();
    owed = owed || (output.fd.ok() && output.owed > 0);
  }
  return !open || (!owed && MonotonicNs() >= drain_until_ns_);
}

void RemoteCommand::Report(const Result<int32_t>& ending) {
  Mux& mux = link_.mux();
  if (!process_.failure.empty()) {
    const auto& stream = streams_[kErr] ? streams_[kErr] : streams_[kOut];
    if (stream) mux.Write(*stream, process_.failure);
  }
  for (Role role : {kOut, kErr}) {
    if (streams_[role]) mux.End(*streams_[role]);
  }
  if (!streams_[kError]) return;
  mux.Write(*streams_[kError], CommandStatus(ending, options_.version));
  mux.End(*streams_[kError]);
}

}  // namespace berth::cri::stream
