#include "tests/testing/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <list>
#include <thread>

#include "base/fd.h"
#include "base/process.h"
#include "base/sync.h"

namespace berth::testing {

namespace {

constexpr size_t kMaxHeadBytes = 64 << 10;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextFree>;

// A connection's bytes, with TLS or without.
class Stream {
 public:
  Stream(int fd, SSL_CTX* tls) : fd_(fd) {
    if (tls == nullptr) return;
    ssl_.reset(SSL_new(tls));
    SSL_set_fd(ssl_.get(), fd);
    usable_ = SSL_accept(ssl_.get()) == 1;
  }
  bool usable() const { return usable_; }

  ssize_t Read(char* buffer, size_t size) {
    if (ssl_ != nullptr) return SSL_read(ssl_.get(), buffer, static_cast<int>(size));
    return recv(fd_, buffer, size, 0);
  }
  bool Write(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ssl_ != nullptr
                      ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                      : send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  void AwaitHangup() {
    char unused[256];
    while (Read(unused, sizeof unused) > 0) {
    }
  }

 private:
  int fd_;
  std::unique_ptr<SSL, SslFree> ssl_;
  bool usable_ = true;
};

void ParseHead(std::string_view head, ServerRequest* request) {
  auto lines = Split(head, '\n');
  auto words = Split(Trim(lines[0]), ' ');
  if (words.size() < 2) return;
  request->method = words[0];
  size_t question = words[1].find('?');
  request->path = words[1].substr(0, question);
  if (question != std::string_view::npos) request->query = words[1].substr(question + 1);
  for (size_t i = 1; i < lines.size(); ++i) {
    size_t colon = lines[i].find(':');
    if (colon == std::string_view::npos) continue;
    request->headers[ToLower(lines[i].substr(0, colon))] = Trim(lines[i].substr(colon + 1));
  }
}

// Reads one request; `rest` holds what came behind the one before.
std::optional<ServerRequest> ReadRequest(Stream& stream, std::string* rest) {
  char buffer[16384];
  auto more = [&] {
    ssize_t n = stream.Read(buffer, sizeof buffer);
    if (n > 0) rest->append(buffer, static_cast<size_t>(n));
    return n > 0;
  };
  size_t end = 0;
  while ((end = rest->find("\r\n\r\n")) == std::string::npos) {
    // A method begins with a letter; a TLS handshake does not, and would wait for an answer.
    if (!rest->empty() && (rest->front() < 'A' || rest->front() > 'Z')) return std::nullopt;
    if (rest->size() > kMaxHeadBytes || !more()) return std::nullopt;
  }
  ServerRequest request;
  ParseHead(std::string_view(*rest).substr(0, end), &request);
  size_t body = ParseNumber<size_t>(request.Header("content-length")).value_or(0);
  while (rest->size() < end + 4 + body) {
    if (!more()) return std::nullopt;
  }
  request.body = rest->substr(end + 4, body);
  rest->erase(0, end + 4 + body);
  return request;
}

// True if the connection may go on.
bool SendReply(Stream& stream, const ServerRequest& request, const ServerReply& reply) {
  if (!reply.raw.empty()) {
    stream.Write(reply.raw);
    return false;
  }
  std::string head = StrCat("HTTP/1.1 ", reply.status, " Scripted\r\n");
  bool has_length = false;
  for (const auto& [name, value] : reply.headers) {
    head += StrCat(name, ": ", value, "\r\n");
    has_length = has_length || ToLower(name) == "content-length";
  }
  if (!has_length) head += StrCat("Content-Length: ", reply.body.size(), "\r\n");
  if (!stream.Write(StrCat(head, "\r\n"))) return false;
  if (request.method == "HEAD") return true;
  size_t limit = std::min(reply.cut_after.value_or(reply.body.size()),
                          reply.stall_after.value_or(reply.body.size()));
  bool sent = true;
  // In pieces of ten milliseconds, if it has a speed.
  const size_t piece = reply.bytes_per_s > 0 ? static_cast<size_t>(reply.bytes_per_s / 100) : limit;
  for (size_t at = 0; sent && at < limit; at += piece) {
    sent = stream.Write(std::string_view(reply.body).substr(0, limit).substr(at, piece));
    if (reply.bytes_per_s > 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (reply.stall_after.has_value()) stream.AwaitHangup();
  return sent && !reply.cut_after.has_value() && !reply.stall_after.has_value();
}

}  // namespace

struct HttpServer::State {
  struct Connection {
    UniqueFd fd;
    std::thread thread;
  };

  void Accept();
  void Serve(int fd);

  Handler handler;
  SslContext tls;
  UniqueFd listener;
  uint16_t port = 0;
  std::thread acceptor;
  mutable Mutex mutex;
  std::vector<ServerRequest> requests GUARDED_BY(mutex);
  std::list<Connection> connections GUARDED_BY(mutex);  // kept to the end: a test has few
};

void HttpServer::State::Accept() {
  while (true) {
    UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.ok()) return;
    int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    MutexLock lock(mutex);
    int raw = fd.get();
    connections.push_back({std::move(fd), std::thread([this, raw] { Serve(raw); })});
  }
}

void HttpServer::State::Serve(int fd) {
  {
    Stream stream(fd, tls.get());
    std::string rest;
    while (stream.usable()) {
      auto request = ReadRequest(stream, &rest);
      if (!request.has_value()) break;
      {
        MutexLock lock(mutex);
        requests.push_back(*request);
      }
      if (!SendReply(stream, *request, handler(*request))) break;
    }
  }
  // The descriptor stays reserved until the server's end; only the connection ends here.
  shutdown(fd, SHUT_RDWR);
}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(Handler handler) {
  auto state = std::make_unique<State>();
  state->handler = std::move(handler);
  state->listener.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(state->listener.get(), generic, size) != 0 || listen(state->listener.get(), 64) != 0 ||
      getsockname(state->listener.get(), generic, &size) != 0) {
    return ErrnoError("listen on loopback");
  }
  state->port = ntohs(address.sin_port);
  State* raw = state.get();
  state->acceptor = std::thread([raw] { raw->Accept(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

Result<std::unique_ptr<HttpServer>> HttpServer::StartTls(Handler handler, const TlsFiles& files) {
  SslContext tls(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate_file(tls.get(), files.certificate.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Error(Code::kInternal, "unusable certificate");
  }
  if (!files.client_ca.empty()) {
    SSL_CTX_set_verify(tls.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_client_CA_list(tls.get(), SSL_load_client_CA_file(files.client_ca.c_str()));
    if (SSL_CTX_load_verify_locations(tls.get(), files.client_ca.c_str(), nullptr) != 1) {
      return Error(Code::kInternal, "unusable CA file");
    }
  }
  // The acceptor is not running anybody's request before the address is known to the caller.
  ASSIGN_OR_RETURN(auto server, Start(std::move(handler)));
  server->state_->tls = std::move(tls);
  return server;
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() {
  shutdown(state_->listener.get(), SHUT_RDWR);
  state_->acceptor.join();
  std::list<State::Connection> connections;
  {
    MutexLock lock(state_->mutex);
    connections.swap(state_->connections);
  }
  for (auto& connection : connections) shutdown(connection.fd.get(), SHUT_RDWR);
  for (auto& connection : connections) connection.thread.join();
}

std::string HttpServer::address() const {
  return StrCat("127.0.0.1:", state_->port);
}

std::vector<ServerRequest> HttpServer::requests() const {
  MutexLock lock(state_->mutex);
  return state_->requests;
}

int HttpServer::connections() const {
  MutexLock lock(state_->mutex);
  return static_cast<int>(state_->connections.size());
}

Result<TlsFiles> MakeCertificate(const std::string& directory, const std::string& name) {
  TlsFiles files{.certificate = StrCat(directory, "/certificate.pem"),
                 .key = StrCat(directory, "/key.pem")};
  SpawnOptions openssl;
  openssl.path = "/usr/bin/openssl";
  openssl.args = {"openssl",
                  "req",
                  "-x509",
                  "-newkey",
                  "ec",
                  "-pkeyopt",
                  "ec_paramgen_curve:P-256",
                  "-nodes",
                  "-days",
                  "2",
                  "-subj",
                  "/CN=" + name,
                  "-addext",
                  "subjectAltName=IP:127.0.0.1,DNS:localhost",
                  "-keyout",
                  files.key,
                  "-out",
                  files.certificate};
  ASSIGN_OR_RETURN(auto output, RunProgram(Context::WithTimeoutMs(30'000), openssl, ""));
  if (output.exit_code != 0) return Error(Code::kInternal, StrCat("openssl: ", output.err));
  return files;
}

}  // namespace berth::testing
