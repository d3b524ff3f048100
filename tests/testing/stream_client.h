// Clients of the streaming server, as Kubernetes' are: SPDY/3.1 over a plain connection or inside
// of WebSocket, and WebSocket channels. The WebSocket side is Boost.Beast's, so that the server's
// own framing meets another's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "cri/stream/mux.h"
#include "cri/stream/spdy_headers.h"

namespace berth::testing {

inline constexpr int kClientTimeoutMs = 30'000;

// "http://HOST:PORT/PATH" in parts.
struct UrlParts {
  std::string host;
  uint16_t port = 0;
  std::string path;
};
Result<UrlParts> ParseUrl(const std::string& url);
// A connected socket. `small_buffers`: a receiver that has little room.
Result<UniqueFd> ConnectTcp(const UrlParts& url, bool small_buffers = false);
// The head of a request that asks for SPDY.
std::string SpdyRequest(const std::string& path, const std::vector<std::string>& protocols);
// Sends the bytes and reads until the server closes.
Result<std::string> ExchangeBytes(const std::string& url, std::string_view bytes,
                                  int timeout_ms = kClientTimeoutMs);

// Sends the bytes over TLS to a server that must have a certificate of `ca_file` for its address;
// reads until `until` has come, or the end. Unauthenticated if the handshake fails.
Result<std::string> ExchangeOverTls(const std::string& url, const std::string& ca_file,
                                    std::string_view bytes, std::string_view until);

// What has come on a stream so far.
struct ClientStream {
  std::string data;
  bool replied = false, ended = false, reset = false;
  size_t dropped = 0;  // bytes that were only counted (SpdyClient::CountOnly)
};

class SpdyClient {
 public:
  // Upgrades with these protocols offered. The error is the server's answer if it refuses.
  static Result<std::unique_ptr<SpdyClient>> Connect(const std::string& url,
                                                     const std::vector<std::string>& protocols,
                                                     bool small_buffers = false);
  virtual ~SpdyClient() = default;

  uint32_t Open(const cri::stream::Headers& headers);
  Status Send(uint32_t stream, std::string_view data, bool fin = false);
  Status Reset(uint32_t stream);
  Status Ping(uint32_t id);
  Status SendBytes(std::string_view bytes);
  // Reads until the condition holds. DeadlineExceeded, or Unavailable once the server has closed.
  Status ReadUntil(const std::function<bool()>& condition, int timeout_ms = kClientTimeoutMs);
  // Data of the stream is counted from now on, not kept.
  void CountOnly(uint32_t stream) { counted_.push_back(stream); }
  // Behave as one that keeps windows: tells of what it has received.
  void SendWindowUpdates() { window_updates_ = true; }

  ClientStream& stream(uint32_t id) { return streams_[id]; }
  const std::string& head() const { return head_; }  // of the server's answer
  uint32_t last_ping() const { return last_ping_; }
  bool gone_away() const { return gone_away_; }
  int fd() const { return socket_.get(); }

 protected:
  SpdyClient() = default;
  // Some bytes of the SPDY connection; empty at its end.
  virtual Result<std::string> Receive(int timeout_ms);
  virtual Status Transmit(std::string_view bytes);

  UniqueFd socket_;
  std::string head_;

 private:
  Status Take();

  std::string pending_;
  cri::stream::HeaderDeflater deflater_;
  cri::stream::HeaderInflater inflater_;
  std::map<uint32_t, ClientStream> streams_;
  std::vector<uint32_t> counted_;
  uint32_t next_stream_ = 1, last_ping_ = 0;
  bool gone_away_ = false, window_updates_ = false;
};

// WebSocket by Boost.Beast.
class WebSocketClient {
 public:
  static Result<std::unique_ptr<WebSocketClient>> Connect(const std::string& url,
                                                          const std::string& protocols);
  ~WebSocketClient();

  Status SendBinary(std::string_view message);
  Status SendText(std::string_view message);
  Status Ping(std::string_view payload);
  // The next message. Unavailable once the connection has been closed; OutOfRange if it was closed
  // with a close message.
  Result<std::string> Receive(int timeout_ms = kClientTimeoutMs);
  Status Close();
  // The protocol that the server has chosen.
  const std::string& protocol() const;
  size_t pongs() const;

 private:
  WebSocketClient();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// SPDY inside of WebSocket.
class TunnelClient final : public SpdyClient {
 public:
  static Result<std::unique_ptr<SpdyClient>> Connect(const std::string& url,
                                                     const std::string& protocol);

 protected:
  Result<std::string> Receive(int timeout_ms) override;
  Status Transmit(std::string_view bytes) override;

 private:
  std::unique_ptr<WebSocketClient> websocket_;
};

// The streams of one exec or attach over SPDY, opened in kubectl's order.
struct CommandStreams {
  uint32_t error = 0, in = 0, out = 0, err = 0, resize = 0;
};
struct WantedStreams {
  bool in = false, out = true, err = true, resize = false;
};
CommandStreams OpenCommandStreams(SpdyClient& client, WantedStreams wanted);

}  // namespace berth::testing
