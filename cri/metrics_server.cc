#include "cri/metrics_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "base/file.h"
#include "base/thread.h"
#include "base/time.h"

namespace berth::cri {

namespace {

constexpr std::string_view kUnix = "unix:";
constexpr int kBacklog = 16;
constexpr int kTickMs = 1000;

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un path;
};

std::string Answer(std::string_view status, std::string_view type, std::string_view body,
                   bool with_body) {
  return StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", type,
                "; charset=utf-8\r\nConnection: close\r\nContent-Length: ", body.size(), "\r\n\r\n",
                with_body ? body : "");
}

}  // namespace

Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& listen,
                                                            int socket_gid,
                                                            std::function<std::string()> content) {
  ASSIGN_OR_RETURN(Context context, Context::Cancellable());
  std::unique_ptr<MetricsServer> server(new MetricsServer(std::move(content), std::move(context)));
  Status listens = listen.starts_with(kUnix)
                       ? server->ListenUnix(listen.substr(kUnix.size()), socket_gid)
                       : server->ListenTcp(listen);
  RETURN_IF_ERROR(listens, "metrics: listen on ", Printable(listen));
  ASSIGN_OR_RETURN(server->thread_, StartThread([raw = server.get()] { raw->Run(); }));
  return server;
}

MetricsServer::~MetricsServer() {
  context_.Cancel();
  if (thread_.joinable()) thread_.join();
  if (!socket_path_.empty()) unlink(socket_path_.c_str());
}

Status MetricsServer::ListenTcp(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  const auto port =
      ParseNumber<uint16_t>(colon == std::string::npos ? "" : listen.substr(colon + 1));
  std::string host = listen.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  Address address{};
  socklen_t size = sizeof address.v4;
  if (port && inet_pton(AF_INET, host.c_str(), &address.v4.sin_addr) == 1) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(*port);
  } else if (port && inet_pton(AF_INET6, host.c_str(), &address.v6.sin6_addr) == 1) {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(*port);
    size = sizeof address.v6;
  } else {
    return Error(Code::kInvalidArgument, "not an IP address and a port");
  }
  listener_.Reset(socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.ok()) return ErrnoError("socket");
  const int on = 1;
  (void)setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener_.get(), &address.any, size) != 0) return ErrnoError("bind");
  if (::listen(listener_.get(), kBacklog) != 0) return ErrnoError("listen");
  if (getsockname(listener_.get(), &address.any, &size) != 0) return ErrnoError("getsockname");
  const bool v6 = address.any.sa_family == AF_INET6;
  address_ = StrCat(v6 ? "[" : "", host, v6 ? "]:" : ":",
                    ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port));
  return Ok();
}

Status MetricsServer::ListenUnix(const std::string& path, int gid) {
  Address address{};
  address.path.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.path.sun_path) return ErrnoError(ENAMETOOLONG, "socket");
  path.copy(address.path.sun_path, path.size());
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return Error(Code::kFailedPrecondition, "is no socket");
    const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!probe.ok()) return ErrnoError("socket");
    if (connect(probe.get(), &address.any, sizeof address.path) == 0) {
      return Error(Code::kFailedPrecondition, "another process serves it");
    }
    if (unlink(path.c_str()) != 0) return ErrnoError("unlink");
  }
  listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.ok()) return ErrnoError("socket");
  // The mode that bind(2) gives it; nobody else may come in before it is set.
  if (fchmod(listener_.get(), 0600) != 0) return ErrnoError("chmod");
  if (bind(listener_.get(), &address.any, sizeof address.path) != 0) return ErrnoError("bind");
  socket_path_ = path;
  if (chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(gid)) != 0 ||
      chmod(path.c_str(), 0660) != 0) {
    return ErrnoError("set the group");
  }
  if (::listen(listener_.get(), kBacklog) != 0) return ErrnoError("listen");
  address_ = StrCat(kUnix, path);
  return Ok();
}

void MetricsServer::Run() {
  while (context_.Check("").ok()) {
    std::vector<pollfd> fds = {{listener_.get(), POLLIN, 0}};
    for (const Client& client : clients_) {
      const short events = client.answer.empty() ? POLLIN : POLLOUT;
      fds.push_back({client.socket.get(), events, 0});
    }
    if (!context_.Poll(fds, clients_.empty() ? -1 : kTickMs, "").ok()) return;
    const int64_t now = MonotonicNs();
    size_t i = 1;
    for (auto it = clients_.begin(); it != clients_.end(); ++i) {
      const bool stays = now < it->deadline_ns && (fds[i].revents == 0 || Serve(*it));
      it = stays ? std::next(it) : clients_.erase(it);
    }
    if (fds[0].revents != 0) Accept();
  }
}

void MetricsServer::Accept() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.ok()) {
    // Without descriptors to spare the connection would be reported again at once.
    if (errno == EMFILE || errno == ENFILE) (void)poll(nullptr, 0, 100);
    return;
  }
  if (clients_.size() == kMaxConnections) clients_.pop_front();
  Client& client = clients_.emplace_back();
  client.socket = std::move(socket);
  client.deadline_ns = MonotonicNs() + kRequestTimeoutMs * 1'000'000;
}

bool MetricsServer::Serve(Client& client) {
  if (client.answered) return Drop(client);
  if (client.answer.empty() && !Read(client)) return false;
  while (!client.answer.empty()) {
    const ssize_t n =
        send(client.socket.get(), client.answer.data(), client.answer.size(), MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.answer.erase(0, static_cast<size_t>(n));
    if (!client.answer.empty()) continue;
    // Closing with bytes unread would take back what was said.
    client.answered = true;
    shutdown(client.socket.get(), SHUT_WR);
  }
  return true;
}

bool MetricsServer::Drop(Client& client) {
  std::array<char, 4096> buffer;
  const ssize_t n = recv(client.socket.get(), buffer.data(), buffer.size(), 0);
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

bool MetricsServer::Read(Client& client) {
  std::array<char, 4096> buffer;
  const ssize_t n = recv(client.socket.get(), buffer.data(), buffer.size(), 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  auto whole = client.reader.Feed({buffer.data(), static_cast<size_t>(n)});
  if (!whole.ok()) {
    client.answer = stream::HttpAnswer(whole.code() == Code::kResourceExhausted ? 431 : 400,
                                       whole.error().message());
  } else if (*whole) {
    client.answer = AnswerTo(client.reader.TakeRequest());
  }
  return true;
}

std::string MetricsServer::AnswerTo(const stream::HttpRequest& request) const {
  const bool head = request.method == "HEAD";
  if (request.method != "GET" && !head) {
    return stream::HttpAnswer(405, "only GET and HEAD", "Allow: GET, HEAD\r\n");
  }
  if (request.target.substr(0, request.target.find('?')) != "/metrics") {
    return stream::HttpAnswer(404, "there is /metrics only");
  }
  return Answer("200 OK", "text/plain; version=0.0.4", content_(), !head);
}

}  // namespace berth::cri
