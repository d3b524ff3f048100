#include "cri/stream/port_forward.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/time.h"

namespace berth::cri::stream {

namespace {

constexpr int64_t kPairingNs = 30'000'000'000;
constexpr int64_t kConnectNs = 30'000'000'000;
constexpr size_t kMaxInputBytes = 1 << 20;  // of all connections together
constexpr size_t kBufferBytes = 64 << 10;

std::string HeaderOf(const Event& event, const std::string& name) {
  auto it = event.headers.find(name);
  return it == event.headers.end() ? std::string() : it->second;
}

Status ConnectToLoopback(int socket, int family, uint16_t port) {
  int result = 0;
  if (family == AF_INET) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    result = connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address);
  } else {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    result = connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  if (result != 0 && errno != EINPROGRESS) return ErrnoError("connect");
  return Ok();
}

}  // namespace

Result<int32_t> PortForward::Run(const Context& context) {
  buffer_.resize(kBufferBytes);
  if (!options_.over_spdy) OpenFixedPorts();
  while (options_.over_spdy || !forwards_.empty()) {
    Status status = RunOnce(context);
    // That the client leaves is how a session ends.
    if (!status.ok() && status.code() != Code::kUnavailable) return std::move(status).error();
    if (!status.ok() || client_left_) return opened_;
  }
  link_.Finish(context);
  return opened_;
}

void PortForward::OpenFixedPorts() {
  uint32_t channel = 0;
  for (uint16_t port : options_.request.ports) {
    Forward forward;
    forward.port = port;
    forward.data = channel;
    forward.error = channel + 1;
    const char number[] = {static_cast<char>(port & 0xff), static_cast<char>(port >> 8)};
    link_.mux().Write(channel, {number, sizeof number});
    link_.mux().Write(channel + 1, {number, sizeof number});
    const Id id = next_id_++;
    by_stream_[channel] = by_stream_[channel + 1] = id;
    auto it = forwards_.emplace(id, std::move(forward)).first;
    if (!Connect(it->second, AF_INET)) Erase(id);
    channel += 2;
  }
}

size_t PortForward::InputWaiting() const {
  size_t waiting = 0;
  for (const auto& [id, forward] : forwards_) waiting += forward.InputWaiting();
  return waiting;
}

pollfd PortForward::Wanted(const Forward& forward) const {
  if (!forward.socket.ok()) return {-1, 0, 0};
  short events = 0;
  if (!forward.connected || forward.InputWaiting() > 0) events |= POLLOUT;
  if (forward.connected && !forward.target_ended && !link_.Congested() &&
      link_.mux().Window(*forward.data) > 0) {
    events |= POLLIN;
  }
  // A descriptor that nothing is wanted of would still report that its peer has hung up.
  return {events == 0 ? -1 : forward.socket.get(), events, 0};
}

Status PortForward::RunOnce(const Context& context) {
  std::vector<pollfd> fds(1);
  std::vector<Id> ids;
  fds.reserve(forwards_.size() + 2);
  for (const auto& [id, forward] : forwards_) {
    fds.push_back(Wanted(forward));
    ids.push_back(id);
  }
  const bool take = InputWaiting() < kMaxInputBytes;
  const int64_t idle_ns = options_.idle_ms * 1'000'000;
  const int64_t left_ms = (link_.last_moved_ns() + idle_ns - MonotonicNs()) / 1'000'000;
  // Deadlines of single connections are kept to the second.
  const int64_t wait_ms = std::clamp<int64_t>(left_ms + 1, 0, forwards_.empty() ? INT32_MAX : 1000);
  ASSIGN_OR_RETURN(auto events, link_.Wait(context, fds, take, static_cast<int>(wait_ms)));
  if (MonotonicNs() - link_.last_moved_ns() > idle_ns) {
    return Error(Code::kDeadlineExceeded, "the session was idle for too long");
  }
  for (Event& event : events) Handle(event);
  for (size_t i = 0; i < ids.size(); ++i) {
    auto it = forwards_.find(ids[i]);
    if (it != forwards_.end() && !Serve(it->second, fds[i + 1].revents)) Erase(ids[i]);
  }
  CheckDeadlines();
  return Ok();
}

void PortForward::CheckDeadlines() {
  const int64_t now = MonotonicNs();
  std::vector<Id> late;
  for (auto& [id, forward] : forwards_) {
    if (forward.connected || now < forward.deadline_ns) continue;
    late.push_back(id);
    (void)Fail(forward, Error(Code::kDeadlineExceeded, forward.data && forward.error
                                                           ? "connect: no answer"
                                                           : "its other stream did not come"));
  }
  for (Id id : late) Erase(id);
}

void PortForward::Erase(Id id) {
  auto it = forwards_.find(id);
  if (it == forwards_.end()) return;
  const Forward& forward = it->second;
  for (const auto& stream : {forward.data, forward.error}) {
    if (stream) by_stream_.erase(*stream);
  }
  auto half = by_request_.find(forward.request);
  if (half != by_request_.end() && half->second == id) by_request_.erase(half);
  forwards_.erase(it);
}

void PortForward::OnOpened(const Event& event) {
  const std::string type = HeaderOf(event, "streamtype");
  const auto port = ParseNumber<uint16_t>(HeaderOf(event, "port"));
  if ((type != "data" && type != "error") || !port || *port == 0) {
    return link_.mux().Reset(event.stream);
  }
  std::string request = HeaderOf(event, "requestid");
  // The oldest clients send none; they open the error stream right before the data stream.
  if (request.empty()) request = StrCat(type == "data" ? event.stream - 2 : event.stream);
  auto half = by_request_.find(request);
  if (half == by_request_.end()) {
    if (forwards_.size() >= kMaxForwards) return link_.mux().Reset(event.stream);
    const Id id = next_id_++;
    Forward forward;
    forward.request = request;
    forward.port = *port;
    forward.deadline_ns = MonotonicNs() + kPairingNs;
    forwards_.emplace(id, std::move(forward));
    half = by_request_.emplace(request, id).first;
  }
  const Id id = half->second;
  Forward& forward = forwards_.at(id);
  auto& own = type == "data" ? forward.data : forward.error;
  if (own || forward.port != *port) return link_.mux().Reset(event.stream);
  own = event.stream;
  by_stream_[event.stream] = id;
  if (!forward.data || !forward.error) return;
  by_request_.erase(half);
  if (!Connect(forward, AF_INET)) Erase(id);
}

void PortForward::Handle(Event& event) {
  if (event.kind == Event::Kind::kGoodbye) client_left_ = true;
  if (event.kind == Event::Kind::kOpened) return OnOpened(event);
  auto id = by_stream_.find(event.stream);
  if (id == by_stream_.end()) return link_.mux().Consumed(event.stream, event.data.size());
  Forward& forward = forwards_.at(id->second);
  const bool is_data = forward.data == event.stream;
  switch (event.kind) {
    case Event::Kind::kData:
      return OnData(forward, event);
    case Event::Kind::kEnded:
      if (is_data) forward.client_ended = true;
      return;
    case Event::Kind::kReset:
      // The client has no use for the connection any more.
      if (!is_data) return;
      if (forward.error) link_.mux().End(*forward.error);
      return Erase(id->second);
    default:
      return;
  }
}

void PortForward::OnData(Forward& forward, Event& event) {
  if (forward.data != event.stream || forward.client_ended) {
    return link_.mux().Consumed(event.stream, event.data.size());
  }
  forward.input += event.data;
}

bool PortForward::Connect(Forward& forward, int family) {
  forward.family = family;
  forward.connected = false;
  forward.deadline_ns = MonotonicNs() + kConnectNs;
  auto socket = options_.pod_socket(options_.request.pod_id, family);
  if (!socket.ok()) return Fail(forward, socket.error());
  forward.socket = std::move(*socket);
  Status status = ConnectToLoopback(forward.socket.get(), family, forward.port);
  if (status.ok()) return true;
  if (family == AF_INET) return Connect(forward, AF_INET6);
  return Fail(forward, status.error());
}

bool PortForward::OnConnected(Forward& forward) {
  int failed = 0;
  socklen_t size = sizeof failed;
  if (getsockopt(forward.socket.get(), SOL_SOCKET, SO_ERROR, &failed, &size) != 0) failed = errno;
  if (failed == 0) {
    forward.connected = true;
    ++opened_;
    return true;
  }
  if (forward.family == AF_INET) return Connect(forward, AF_INET6);
  return Fail(forward, ErrnoError(failed, "connect to localhost"));
}

bool PortForward::Fail(Forward& forward, const Error& error) {
  Mux& mux = link_.mux();
  if (forward.error) {
    mux.Write(*forward.error, StrCat("error forwarding port ", forward.port, " to pod ",
                                     options_.request.pod_id, ": ", error.message()));
    mux.End(*forward.error);
  }
  if (forward.data) mux.End(*forward.data);
  return false;
}

bool PortForward::Serve(Forward& forward, short revents) {
  if (!forward.socket.ok()) return true;
  if (!forward.connected) {
    if (revents == 0) return true;
    if (!OnConnected(forward)) return false;
    if (!forward.connected) return true;
  } else if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !forward.target_ended) {
    if (!ReadOutput(forward)) return false;
  }
  if (!WriteInput(forward)) return false;
  return !IsOver(forward);
}

// A WebSocket client cannot say that it writes nothing more.
bool PortForward::IsOver(const Forward& forward) const {
  return forward.target_ended && (forward.input_closed || !options_.over_spdy);
}

bool PortForward::WriteInput(Forward& forward) {
  while (forward.InputWaiting() > 0) {
    const ssize_t n = send(forward.socket.get(), forward.input.data() + forward.input_sent,
                           forward.InputWaiting(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (forward.input_sent > kBufferBytes) {
        forward.input.erase(0, std::exchange(forward.input_sent, 0));
      }
      return true;
    }
    if (n < 0) {
      link_.mux().Reset(*forward.data);
      link_.mux().End(*forward.error);
      return false;
    }
    forward.input_sent += static_cast<size_t>(n);
    link_.mux().Consumed(*forward.data, static_cast<size_t>(n));
  }
  forward.input.clear();
  forward.input_sent = 0;
  if (forward.client_ended && !forward.input_closed) {
    forward.input_closed = true;
    shutdown(forward.socket.get(), SHUT_WR);
  }
  return true;
}

bool PortForward::ReadOutput(Forward& forward) {
  Mux& mux = link_.mux();
  const size_t room = std::min(buffer_.size(), mux.Window(*forward.data));
  if (room == 0) return true;  // the client has told of its window since the poll
  const ssize_t n = recv(forward.socket.get(), buffer_.data(), room, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0) {
    mux.Reset(*forward.data);
    mux.End(*forward.error);
    return false;
  }
  if (n == 0) {
    forward.target_ended = true;
    mux.End(*forward.data);
    // Some clients end their side of the data only once they have seen the end of this.
    mux.End(*forward.error);
    return true;
  }
  mux.Write(*forward.data, {buffer_.data(), static_cast<size_t>(n)});
  return true;
}

}  // namespace berth::cri::stream
