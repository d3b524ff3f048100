// From a client's HTTP request to the protocol that both will speak.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "cri/stream/http_request.h"
#include "cri/stream/mux.h"

namespace berth::cri::stream {

enum class Transport { kSpdy, kWebSocket, kSpdyTunnel };

struct Upgrade {
  Transport transport = Transport::kSpdy;
  // Of "vN.channel.k8s.io", 1 to 5; 0 for port-forward over SPDY.
  int version = 0;
  bool base64 = false;
  std::string answer;  // "101 Switching Protocols", whole
};

// A request that cannot be served, with the whole answer.
struct Refusal {
  std::string reason;
  std::string answer;
};

enum class Purpose { kRemoteCommand, kPortForward };

// The first of the client's protocols that we know.
std::variant<Upgrade, Refusal> Negotiate(const HttpRequest& request, Purpose purpose);

// `channels`: how many a WebSocket client may name.
std::unique_ptr<Mux> MakeMux(const Upgrade& upgrade, uint32_t channels);

}  // namespace berth::cri::stream
