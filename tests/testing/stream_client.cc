#include "tests/testing/stream_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/time.h"
#include "cri/stream/spdy_frame.h"

namespace berth::testing {

using cri::stream::AppendSpdyControl;
using cri::stream::AppendSpdyData;
using cri::stream::SpdyType;

namespace {

Status WaitReadable(int fd, int64_t deadline_ns) {
  const int64_t left_ms = (deadline_ns - MonotonicNs()) / 1'000'000;
  pollfd wait = {fd, POLLIN, 0};
  if (left_ms <= 0 || poll(&wait, 1, static_cast<int>(left_ms)) == 0) {
    return Error(Code::kDeadlineExceeded, "the server said nothing in time");
  }
  return Ok();
}

}  // namespace

Result<UrlParts> ParseUrl(const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t slash = scheme == std::string::npos ? scheme : url.find('/', scheme + 3);
  if (slash == std::string::npos) return Error(Code::kInvalidArgument, StrCat("no URL: ", url));
  const std::string authority = url.substr(scheme + 3, slash - scheme - 3);
  const size_t colon = authority.rfind(':');
  const auto port = ParseNumber<uint16_t>(std::string_view(authority).substr(colon + 1));
  if (colon == std::string::npos || !port) {
    return Error(Code::kInvalidArgument, StrCat("no port: ", url));
  }
  return UrlParts{authority.substr(0, colon), *port, url.substr(slash)};
}

Result<UniqueFd> ConnectTcp(const UrlParts& url, bool small_buffers) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return ErrnoError("socket");
  if (small_buffers) {
    const int bytes = 4096;
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(url.port);
  if (inet_pton(AF_INET, url.host.c_str(), &address.sin_addr) != 1) {
    return Error(Code::kInvalidArgument, url.host);
  }
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return ErrnoError("connect");
  }
  return fd;
}

std::string SpdyRequest(const std::string& path, const std::vector<std::string>& protocols) {
  std::string request = StrCat("POST ", path,
                               " HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n"
                               "Upgrade: SPDY/3.1\r\nContent-Length: 0\r\n");
  for (const std::string& protocol : protocols) {
    request += StrCat("X-Stream-Protocol-Version: ", protocol, "\r\n");
  }
  return request + "\r\n";
}

Result<std::string> ExchangeBytes(const std::string& url, std::string_view bytes, int timeout_ms) {
  ASSIGN_OR_RETURN(const UrlParts parts, ParseUrl(url));
  ASSIGN_OR_RETURN(const UniqueFd fd, ConnectTcp(parts));
  const int64_t deadline = MonotonicNs() + int64_t{timeout_ms} * 1'000'000;
  // The server may close before it has read all.
  (void)send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::string out;
  while (true) {
    RETURN_IF_ERROR(WaitReadable(fd.get(), deadline));
    char buffer[4096];
    const ssize_t n = recv(fd.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return out;
    out.append(buffer, static_cast<size_t>(n));
  }
}

Result<std::string> ExchangeOverTls(const std::string& url, const std::string& ca_file,
                                    std::string_view bytes, std::string_view until) {
  ASSIGN_OR_RETURN(const UrlParts parts, ParseUrl(url));
  ASSIGN_OR_RETURN(const UniqueFd fd, ConnectTcp(parts));
  const timeval limit{kClientTimeoutMs / 1000, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  if (SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr) != 1) {
    return Error(Code::kInvalidArgument, StrCat("cannot use ", ca_file));
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), parts.host.c_str());
  SSL_set_fd(ssl.get(), fd.get());
  if (SSL_connect(ssl.get()) != 1) {
    return Error(Code::kUnauthenticated,
                 StrCat("TLS: ", X509_verify_cert_error_string(SSL_get_verify_result(ssl.get()))));
  }
  SSL_write(ssl.get(), bytes.data(), static_cast<int>(bytes.size()));
  std::string out;
  char buffer[4096];
  int n = 0;
  while (out.find(until) == std::string::npos &&
         (n = SSL_read(ssl.get(), buffer, sizeof buffer)) > 0) {
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

Result<std::unique_ptr<SpdyClient>> SpdyClient::Connect(const std::string& url,
                                                        const std::vector<std::string>& protocols,
                                                        bool small_buffers) {
  ASSIGN_OR_RETURN(const UrlParts parts, ParseUrl(url));
  std::unique_ptr<SpdyClient> client(new SpdyClient);
  ASSIGN_OR_RETURN(client->socket_, ConnectTcp(parts, small_buffers));
  RETURN_IF_ERROR(client->Transmit(SpdyRequest(parts.path, protocols)));
  std::string& head = client->head_;
  size_t end = 0;
  while ((end = head.find("\r\n\r\n")) == std::string::npos) {
    ASSIGN_OR_RETURN(const std::string more, client->Receive(kClientTimeoutMs));
    if (more.empty()) return Error(Code::kUnavailable, StrCat("closed after: ", head));
    head += more;
  }
  client->pending_ = head.substr(end + 4);
  head.resize(end + 4);
  if (!head.starts_with("HTTP/1.1 101 ")) return Error(Code::kFailedPrecondition, head);
  return client;
}

Result<std::string> SpdyClient::Receive(int timeout_ms) {
  RETURN_IF_ERROR(WaitReadable(socket_.get(), MonotonicNs() + int64_t{timeout_ms} * 1'000'000));
  std::string out(64 << 10, '\0');
  const ssize_t n = recv(socket_.get(), out.data(), out.size(), 0);
  out.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return out;
}

Status SpdyClient::Transmit(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return ErrnoError("send");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Ok();
}

Status SpdyClient::SendBytes(std::string_view bytes) {
  return Transmit(bytes);
}

uint32_t SpdyClient::Open(const cri::stream::Headers& headers) {
  const uint32_t id = next_stream_;
  next_stream_ += 2;
  std::string frame;
  // No associated stream, priority 0, slot 0.
  std::string tail("\0\0\0\0\0\0", 6);
  tail += deflater_.Deflate(headers);
  AppendSpdyControl(frame, SpdyType::kSynStream, 0, {id}, tail);
  (void)Transmit(frame);
  return id;
}

Status SpdyClient::Send(uint32_t stream, std::string_view data, bool fin) {
  std::string frame;
  AppendSpdyData(frame, stream, data, fin);
  return Transmit(frame);
}

Status SpdyClient::Reset(uint32_t stream) {
  std::string frame;
  AppendSpdyControl(frame, SpdyType::kRstStream, 0, {stream, cri::stream::kSpdyCancel});
  return Transmit(frame);
}

Status SpdyClient::Ping(uint32_t id) {
  std::string frame;
  AppendSpdyControl(frame, SpdyType::kPing, 0, {id});
  return Transmit(frame);
}

Status SpdyClient::Take() {
  std::string_view bytes = pending_;
  while (true) {
    ASSIGN_OR_RETURN(const auto frame, cri::stream::TakeSpdyFrame(bytes));
    if (!frame) break;
    ClientStream& stream = streams_[frame->stream];
    switch (frame->type) {
      case SpdyType::kData:
        if (std::find(counted_.begin(), counted_.end(), frame->stream) != counted_.end()) {
          stream.dropped += frame->payload.size();
        } else {
          stream.data += frame->payload;
        }
        if (window_updates_ && !frame->payload.empty()) {
          std::string update;
          const auto size = static_cast<uint32_t>(frame->payload.size());
          AppendSpdyControl(update, SpdyType::kWindowUpdate, 0, {frame->stream, size});
          AppendSpdyControl(update, SpdyType::kWindowUpdate, 0, {0, size});
          RETURN_IF_ERROR(Transmit(update));
        }
        break;
      case SpdyType::kSynReply: {
        ASSIGN_OR_RETURN(const auto headers, inflater_.Inflate(frame->payload));
        stream.replied = true;
        break;
      }
      case SpdyType::kRstStream:
        stream.reset = true;
        break;
      case SpdyType::kPing:
        last_ping_ = frame->stream;
        break;
      case SpdyType::kGoAway:
        gone_away_ = true;
        break;
      default:
        break;
    }
    if (frame->type == SpdyType::kData && (frame->flags & cri::stream::kSpdyFin) != 0) {
      stream.ended = true;
    }
  }
  pending_.erase(0, pending_.size() - bytes.size());
  return Ok();
}

Status SpdyClient::ReadUntil(const std::function<bool()>& condition, int timeout_ms) {
  const int64_t deadline = MonotonicNs() + int64_t{timeout_ms} * 1'000'000;
  while (true) {
    RETURN_IF_ERROR(Take());
    if (condition()) return Ok();
    const int64_t left_ms = (deadline - MonotonicNs()) / 1'000'000;
    if (left_ms <= 0) return Error(Code::kDeadlineExceeded, "it did not come to pass");
    ASSIGN_OR_RETURN(const std::string more, Receive(static_cast<int>(left_ms)));
    if (more.empty()) return Error(Code::kUnavailable, "the server has closed");
    pending_ += more;
  }
}

Result<std::unique_ptr<SpdyClient>> TunnelClient::Connect(const std::string& url,
                                                          const std::string& protocol) {
  auto client = std::make_unique<TunnelClient>();
  ASSIGN_OR_RETURN(client->websocket_, WebSocketClient::Connect(url, protocol));
  return std::unique_ptr<SpdyClient>(std::move(client));
}

Result<std::string> TunnelClient::Receive(int timeout_ms) {
  return websocket_->Receive(timeout_ms);
}

Status TunnelClient::Transmit(std::string_view bytes) {
  return websocket_->SendBinary(bytes);
}

CommandStreams OpenCommandStreams(SpdyClient& client, WantedStreams wanted) {
  CommandStreams streams;
  streams.error = client.Open({{"streamtype", "error"}});
  if (wanted.in) streams.in = client.Open({{"streamtype", "stdin"}});
  if (wanted.out) streams.out = client.Open({{"streamtype", "stdout"}});
  if (wanted.err) streams.err = client.Open({{"streamtype", "stderr"}});
  if (wanted.resize) streams.resize = client.Open({{"streamtype", "resize"}});
  return streams;
}

}  // namespace berth::testing
