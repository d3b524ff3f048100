#include "cri/stream/server.h"

#include <arpa/inet.h>
#include <glog/logging.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "base/time.h"
#include "cri/stream/link.h"
#include "cri/stream/port_forward.h"
#include "cri/stream/remote_command.h"

namespace berth::cri::stream {

namespace {

constexpr int kBacklog = 128;
constexpr int kJoinEveryMs = 1000;
constexpr int64_t kRefusalLogNs = 1'000'000'000;
// A container is never made to wait: a client that is further behind is cut off (shim/attach.h).
constexpr size_t kAttachBacklog = 8 << 20;

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

Result<std::pair<Address, socklen_t>> ParseAddress(const std::string& text, uint16_t port) {
  Address address{};
  if (inet_pton(AF_INET, text.c_str(), &address.v4.sin_addr) == 1) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    return std::pair(address, static_cast<socklen_t>(sizeof address.v4));
  }
  if (inet_pton(AF_INET6, text.c_str(), &address.v6.sin6_addr) == 1) {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    return std::pair(address, static_cast<socklen_t>(sizeof address.v6));
  }
  return Error(Code::kInvalidArgument, StrCat("\"", Printable(text), "\" is not an IP address"));
}

std::string TextOf(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &address.v4.sin_addr, text.data(), text.size());
    return StrCat(text.data(), ":", ntohs(address.v4.sin_port));
  }
  inet_ntop(AF_INET6, &address.v6.sin6_addr, text.data(), text.size());
  return StrCat("[", text.data(), "]:", ntohs(address.v6.sin6_port));
}

void SetOption(int socket, int level, int option, int value) {
  (void)setsockopt(socket, level, option, &value, sizeof value);
}

std::string_view VerbOf(const Request& request) {
  constexpr std::array<std::string_view, 3> kVerbs = {"exec", "attach", "portforward"};
  return kVerbs.at(request.index());
}

Purpose PurposeOf(const Request& request) {
  return std::holds_alternative<PortForwardRequest>(request) ? Purpose::kPortForward
                                                             : Purpose::kRemoteCommand;
}

// What was asked for, for the log: no arguments, which may be secrets.
std::string Describe(const Request& request) {
  if (const auto* exec = std::get_if<ExecRequest>(&request)) {
    return StrCat("exec of ", Printable(exec->command.front(), 80), " in container ",
                  exec->container_id);
  }
  if (const auto* attach = std::get_if<AttachRequest>(&request)) {
    return StrCat("attach to container ", attach->container_id);
  }
  return StrCat("port-forward to pod ", std::get<PortForwardRequest>(request).pod_id);
}

// "/exec/TOKEN?whatever" -> {"exec", "TOKEN"}
std::pair<std::string, std::string> SplitTarget(std::string_view target) {
  target = target.substr(0, target.find('?'));
  const std::vector<std::string_view> parts = Split(target, '/');
  if (parts.size() != 3 || !parts[0].empty()) return {};
  return {std::string(parts[1]), std::string(parts[2])};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options, RuntimeCalls calls) {
  ASSIGN_OR_RETURN(Context context, Context::Cancellable());
  std::unique_ptr<Server> server(
      new Server(std::move(options), std::move(calls), std::move(context)));
  RETURN_IF_ERROR(server->Listen(), "streaming server");
  server->acceptor_ = std::thread([raw = server.get()] { raw->Run(); });
  return server;
}

Server::~Server() {
  Stop();
}

void Server::Stop() {
  context_.Cancel();
  if (acceptor_.joinable()) acceptor_.join();
}

Status Server::Listen() {
  if (!options_.tls_cert_file.empty()) {
    ASSIGN_OR_RETURN(tls_, TlsContext::Load(options_.tls_cert_file, options_.tls_key_file));
  }
  ASSIGN_OR_RETURN(auto parsed, ParseAddress(options_.address, options_.port), "address");
  auto& [address, size] = parsed;
  listener_.Reset(socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.ok()) return ErrnoError("socket");
  SetOption(listener_.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(listener_.get(), &address.any, size) != 0) {
    return ErrnoError(StrCat("bind ", TextOf(address)));
  }
  if (listen(listener_.get(), kBacklog) != 0) return ErrnoError("listen");
  if (getsockname(listener_.get(), &address.any, &size) != 0) return ErrnoError("getsockname");
  base_url_ = StrCat(tls_ ? "https://" : "http://", TextOf(address));
  return Ok();
}

Result<std::string> Server::Url(Request request) {
  const std::string_view verb = VerbOf(request);
  ASSIGN_OR_RETURN(const std::string token, tokens_.Issue(std::move(request)));
  return StrCat(base_url_, "/", verb, "/", token);
}

void Server::Run() {
  while (context_.Check("").ok()) {
    std::vector<pollfd> fds = {{listener_.get(), POLLIN, 0}};
    for (const Arrival& arrival : arrivals_) {
      const short events = arrival.connection.WantsToWrite() ? POLLIN | POLLOUT : POLLIN;
      fds.push_back({arrival.connection.fd(), events, 0});
    }
    // Threads that have ended are joined, and late requests dropped, within the second.
    const int timeout = arrivals_.empty() && sessions_.empty() ? -1 : kJoinEveryMs;
    if (!context_.Poll(fds, timeout, "").ok()) break;
    const int64_t now = MonotonicNs();
    size_t i = 1;
    for (auto it = arrivals_.begin(); it != arrivals_.end(); ++i) {
      bool stays = fds[i].revents == 0 || ReadRequest(*it);
      if (stays && now > it->deadline_ns) {
        Refuse(*it, "no request came in time", "");
        stays = false;
      }
      it = stays ? std::next(it) : arrivals_.erase(it);
    }
    JoinSessions(/*all=*/false);
    if (fds[0].revents != 0) Accept();
  }
  arrivals_.clear();
  JoinSessions(/*all=*/true);
}

void Server::JoinSessions(bool all) {
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    if (!all && !it->over.load()) {
      ++it;
      continue;
    }
    it->thread.join();
    it = sessions_.erase(it);
  }
}

void Server::Accept() {
  Address from{};
  socklen_t size = sizeof from;
  UniqueFd socket(accept4(listener_.get(), &from.any, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.ok()) {
    // Without descriptors to spare the connection would be reported again at once.
    if (errno == EMFILE || errno == ENFILE) (void)poll(nullptr, 0, 100);
    return;
  }
  SetOption(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(socket.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  // A peer that has vanished is noticed within two minutes.
  SetOption(socket.get(), IPPROTO_TCP, TCP_KEEPIDLE, 60);
  SetOption(socket.get(), IPPROTO_TCP, TCP_KEEPINTVL, 10);
  SetOption(socket.get(), IPPROTO_TCP, TCP_KEEPCNT, 6);
  if (arrivals_.size() >= kMaxWithoutToken) {
    Refuse(arrivals_.front(), "too many connections without a request", "");
    arrivals_.pop_front();
  }
  arrivals_.push_back({Connection(std::move(socket), tls_ ? tls_->Current() : nullptr),
                       {},
                       MonotonicNs() + kRequestTimeoutMs * 1'000'000,
                       TextOf(from)});
}

bool Server::ReadRequest(Arrival& arrival) {
  std::array<char, 4096> buffer;
  while (true) {
    auto size = arrival.connection.Read(buffer.data(), buffer.size());
    if (!size.ok()) {
      Refuse(arrival, size.error().message(), "");
      return false;
    }
    if (!*size) return true;
    // One that says nothing and goes, as a health check does, is nobody to be refused.
    if (**size == 0) return false;
    auto whole = arrival.reader.Feed({buffer.data(), **size});
    if (!whole.ok()) {
      const int status = whole.code() == Code::kResourceExhausted ? 431 : 400;
      Refuse(arrival, whole.error().message(), HttpAnswer(status, whole.error().message()));
      return false;
    }
    if (!*whole) continue;
    Serve(arrival);
    return false;
  }
}

void Server::Refuse(Arrival& arrival, std::string_view reason, const std::string& answer) {
  if (!answer.empty()) {
    // Whatever of so short an answer the socket does not take at once is not worth waiting for.
    (void)arrival.connection.Write(answer);
    arrival.connection.EndWriting();
  }
  // A flood of these must not become one of the log.
  const int64_t now = MonotonicNs();
  if (now - last_refusal_ns_ < kRefusalLogNs) {
    ++refusals_not_logged_;
    return;
  }
  last_refusal_ns_ = now;
  LOG(WARNING) << "streaming: refused " << arrival.from << ": " << Printable(reason)
               << (refusals_not_logged_ > 0 ? StrCat("; ", refusals_not_logged_, " more before it")
                                            : "");
  refusals_not_logged_ = 0;
}

void Server::Serve(Arrival& arrival) {
  const HttpRequest http = arrival.reader.TakeRequest();
  const auto [verb, token] = SplitTarget(http.target);
  auto request = tokens_.Consume(token);
  if (!request || VerbOf(*request) != verb) {
    constexpr char kUnknown[] = "there is no such session: tokens are good once, for a minute";
    return Refuse(arrival, kUnknown, HttpAnswer(404, kUnknown));
  }
  auto negotiated = Negotiate(http, PurposeOf(*request));
  if (auto* refusal = std::get_if<Refusal>(&negotiated)) {
    return Refuse(arrival, refusal->reason, refusal->answer);
  }
  JoinSessions(/*all=*/false);
  if (sessions_.size() >= kMaxSessions) {
    const std::string full = StrCat("there are ", kMaxSessions, " sessions already");
    return Refuse(arrival, full, HttpAnswer(503, full));
  }
  StartSession(arrival, std::move(*request), std::move(std::get<Upgrade>(negotiated)));
}

void Server::StartSession(Arrival& arrival, Request request, Upgrade upgrade) {
  Session& session = sessions_.emplace_back();
  try {
    session.thread =
        std::thread([this, &session, request = std::move(request), upgrade = std::move(upgrade),
                     connection = std::move(arrival.connection),
                     received = arrival.reader.TakeRest()]() mutable {
          RunSession(std::move(connection), request, upgrade, std::move(received));
          session.over.store(true);
        });
  } catch (const std::system_error& error) {
    sessions_.pop_back();
    LOG(ERROR) << "streaming: no thread for a session: " << error.what();
  }
}

void Server::RunSession(Connection connection, const Request& request, const Upgrade& upgrade,
                        std::string received) {
  const int64_t begun = MonotonicNs();
  const bool over_spdy = upgrade.transport != Transport::kWebSocket;
  const auto* forward = std::get_if<PortForwardRequest>(&request);
  const size_t channels = forward == nullptr ? 5 : 2 * forward->ports.size();
  Link link(std::move(connection), MakeMux(upgrade, static_cast<uint32_t>(channels)),
            upgrade.answer, std::move(received));
  Result<int32_t> ending = int32_t{0};
  if (forward != nullptr) {
    ending = PortForward(link, {*forward, over_spdy, options_.idle_timeout_ms, calls_.pod_socket})
                 .Run(context_);
  } else {
    const auto* exec = std::get_if<ExecRequest>(&request);
    const auto* attach = std::get_if<AttachRequest>(&request);
    RemoteCommand::Options options;
    options.streams = exec != nullptr ? exec->streams : attach->streams;
    options.version = upgrade.version;
    options.over_spdy = over_spdy;
    options.idle_ms = options_.idle_timeout_ms;
    if (attach != nullptr) options.backlog = kAttachBacklog;
    options.start = [&](const Context& context) {
      return exec != nullptr ? calls_.exec(context, *exec) : calls_.attach(context, *attach);
    };
    ending = RemoteCommand(link, std::move(options)).Run(context_);
  }
  const int64_t took_ms = (MonotonicNs() - begun) / 1'000'000;
  LOG(INFO) << "streaming: " << Describe(request) << ": "
            << (ending.ok() ? StrCat(forward != nullptr ? "connections: " : "exit code ", *ending)
                            : Printable(ending.error().message(), 512))
            << ", after " << took_ms << " ms";
}

}  // namespace berth::cri::stream
