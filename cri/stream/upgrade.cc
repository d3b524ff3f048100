#include "cri/stream/upgrade.h"

#include <array>
#include <optional>

#include "base/strings.h"
#include "cri/stream/spdy_session.h"
#include "cri/stream/spdy_tunnel.h"
#include "cri/stream/websocket.h"
#include "cri/stream/websocket_channels.h"

namespace berth::cri::stream {

namespace {

constexpr char kVersionHeader[] = "x-stream-protocol-version";
constexpr char kWebSocketProtocol[] = "sec-websocket-protocol";
constexpr size_t kMaxKeyBytes = 64;

struct Protocol {
  std::string_view name;
  int version = 0;
  bool base64 = false;
  Transport transport = Transport::kWebSocket;
};

constexpr std::array<Protocol, 4> kSpdyCommands = {{
    {"v4.channel.k8s.io", 4},
    {"v3.channel.k8s.io", 3},
    {"v2.channel.k8s.io", 2},
    {"channel.k8s.io", 1},
}};
constexpr std::array<Protocol, 1> kSpdyForwards = {{{"portforward.k8s.io", 0}}};
constexpr std::array<Protocol, 10> kWebSocketCommands = {{
    {"v5.channel.k8s.io", 5},
    {"v5.base64.channel.k8s.io", 5, true},
    {"v4.channel.k8s.io", 4},
    {"v4.base64.channel.k8s.io", 4, true},
    {"v3.channel.k8s.io", 3},
    {"v3.base64.channel.k8s.io", 3, true},
    {"v2.channel.k8s.io", 2},
    {"v2.base64.channel.k8s.io", 2, true},
    {"channel.k8s.io", 1},
    {"base64.channel.k8s.io", 1, true},
}};
constexpr std::array<Protocol, 4> kWebSocketForwards = {{
    {"v4.channel.k8s.io", 4},
    {"v4.base64.channel.k8s.io", 4, true},
    {"SPDY/3.1+portforward.k8s.io", 0, false, Transport::kSpdyTunnel},
    {"portforward.k8s.io", 4},
}};

template <size_t N>
const Protocol* Choose(const std::vector<std::string>& offered,
                       const std::array<Protocol, N>& known) {
  for (const std::string& name : offered) {
    for (const Protocol& protocol : known) {
      if (name == protocol.name) return &protocol;
    }
  }
  return nullptr;
}

template <size_t N>
std::string NamesOf(const std::array<Protocol, N>& known) {
  std::string lines;
  for (const Protocol& protocol : known) {
    lines += StrCat("X-Accepted-Stream-Protocol-Versions: ", protocol.name, "\r\n");
  }
  return lines;
}

Refusal Refuse(int status, const std::string& reason, std::string_view headers = {}) {
  return {reason, HttpAnswer(status, reason, headers)};
}

Refusal NoCommonProtocol(const std::vector<std::string>& offered, const std::string& accepted) {
  return Refuse(403,
                StrCat("no protocol in common: the client has ",
                       offered.empty() ? "none" : Printable(Join(offered, ", "))),
                accepted);
}

template <size_t N>
std::variant<Upgrade, Refusal> NegotiateSpdy(const HttpRequest& request,
                                             const std::array<Protocol, N>& known,
                                             const Protocol& fallback) {
  const std::vector<std::string> offered = request.List(kVersionHeader);
  // The oldest clients name none.
  const Protocol* protocol = offered.empty() ? &fallback : Choose(offered, known);
  if (protocol == nullptr) return NoCommonProtocol(offered, NamesOf(known));
  Upgrade upgrade;
  upgrade.transport = Transport::kSpdy;
  upgrade.version = protocol->version;
  upgrade.answer =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
  if (!offered.empty()) {
    upgrade.answer += StrCat("X-Stream-Protocol-Version: ", protocol->name, "\r\n");
  }
  upgrade.answer += "\r\n";
  return upgrade;
}

template <size_t N>
std::variant<Upgrade, Refusal> NegotiateWebSocket(const HttpRequest& request,
                                                  const std::array<Protocol, N>& known,
                                                  const Protocol& fallback) {
  if (request.method != "GET") return Refuse(405, "a WebSocket begins with GET", "Allow: GET\r\n");
  if (!request.Has("sec-websocket-version", "13")) {
    return Refuse(426, "WebSocket of another version", "Sec-WebSocket-Version: 13\r\n");
  }
  auto key = request.headers.find("sec-websocket-key");
  if (key == request.headers.end() || key->second.empty() || key->second.size() > kMaxKeyBytes) {
    return Refuse(400, "Sec-WebSocket-Key: missing or too long");
  }
  const std::vector<std::string> offered = request.List(kWebSocketProtocol);
  const Protocol* protocol = offered.empty() ? &fallback : Choose(offered, known);
  if (protocol == nullptr) return NoCommonProtocol(offered, NamesOf(known));
  Upgrade upgrade;
  upgrade.transport = protocol->transport;
  upgrade.version = protocol->version;
  upgrade.base64 = protocol->base64;
  upgrade.answer = StrCat(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: ",
      WebSocketAccept(Trim(key->second)), "\r\n");
  if (!offered.empty()) {
    upgrade.answer += StrCat("Sec-WebSocket-Protocol: ", protocol->name, "\r\n");
  }
  upgrade.answer += "\r\n";
  return upgrade;
}

}  // namespace

std::variant<Upgrade, Refusal> Negotiate(const HttpRequest& request, Purpose purpose) {
  const bool command = purpose == Purpose::kRemoteCommand;
  if (request.method != "GET" && request.method != "POST") {
    return Refuse(405, "only GET and POST are possible", "Allow: GET, POST\r\n");
  }
  if (!request.Has("connection", "upgrade")) {
    return Refuse(400, "Connection: Upgrade is missing: this is for SPDY/3.1 and WebSocket only");
  }
  if (request.Has("upgrade", "websocket")) {
    return command ? NegotiateWebSocket(request, kWebSocketCommands, kWebSocketCommands[8])
                   : NegotiateWebSocket(request, kWebSocketForwards, kWebSocketForwards[0]);
  }
  if (request.Has("upgrade", "spdy/3.1")) {
    return command ? NegotiateSpdy(request, kSpdyCommands, kSpdyCommands[3])
                   : NegotiateSpdy(request, kSpdyForwards, kSpdyForwards[0]);
  }
  return Refuse(400, "Upgrade: neither SPDY/3.1 nor websocket");
}

std::unique_ptr<Mux> MakeMux(const Upgrade& upgrade, uint32_t channels) {
  switch (upgrade.transport) {
    case Transport::kSpdy:
      return std::make_unique<SpdySession>();
    case Transport::kSpdyTunnel:
      return std::make_unique<SpdyTunnel>();
    case Transport::kWebSocket:
      break;
  }
  return std::make_unique<WebSocketChannels>(
      WebSocketChannels::Options{upgrade.base64, upgrade.version == 5, channels});
}

}  // namespace berth::cri::stream
