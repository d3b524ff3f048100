#include "cri/stream/spdy_tunnel.h"

namespace berth::cri::stream {

Status SpdyTunnel::Feed(std::string_view bytes, std::vector<Event>& events) {
  std::vector<WebSocketMessage> messages;
  Status status = reader_.Feed(bytes, messages);
  for (const WebSocketMessage& message : messages) {
    if (!status.ok()) break;
    status = Handle(message, events);
  }
  if (!status.ok()) CloseWith(1002, status.error().message());
  return status;
}

Status SpdyTunnel::Handle(const WebSocketMessage& message, std::vector<Event>& events) {
  switch (message.opcode) {
    case Opcode::kPing:
      if (closed_) return Ok();
      Wrap();
      AppendWebSocketMessage(out_, Opcode::kPong, message.payload);
      return Ok();
    case Opcode::kClose:
      CloseWith(1000, "");
      events.push_back({.kind = Event::Kind::kGoodbye});
      return Ok();
    case Opcode::kBinary:
    case Opcode::kText:
      return spdy_.Feed(message.payload, events);
    default:
      return Ok();
  }
}

void SpdyTunnel::Wrap() {
  const std::string inner = spdy_.TakeOutput();
  if (!inner.empty() && !closed_) AppendWebSocketMessage(out_, Opcode::kBinary, inner);
}

std::string SpdyTunnel::TakeOutput() {
  Wrap();
  return std::exchange(out_, {});
}

void SpdyTunnel::CloseWith(uint16_t code, std::string_view reason) {
  if (closed_) return;
  spdy_.Close();
  Wrap();
  closed_ = true;
  AppendWebSocketMessage(out_, Opcode::kClose, ClosePayload(code, reason));
}

}  // namespace berth::cri::stream
