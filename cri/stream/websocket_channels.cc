#include "cri/stream/websocket_channels.h"

#include "base/base64.h"

namespace berth::cri::stream {

namespace {
constexpr uint8_t kCloseSignal = 255;
}

Status WebSocketChannels::Feed(std::string_view bytes, std::vector<Event>& events) {
  std::vector<WebSocketMessage> messages;
  Status status = reader_.Feed(bytes, messages);
  for (WebSocketMessage& message : messages) {
    if (!status.ok()) break;
    if (!closed_ || message.opcode == Opcode::kClose) status = Handle(message, events);
  }
  if (!status.ok()) {
    CloseWith(status.code() == Code::kResourceExhausted ? 1009 : 1002, status.error().message());
  }
  return status;
}

Status WebSocketChannels::Handle(WebSocketMessage& message, std::vector<Event>& events) {
  switch (message.opcode) {
    case Opcode::kPing:
      AppendWebSocketMessage(out_, Opcode::kPong, message.payload);
      return Ok();
    case Opcode::kClose:
      CloseWith(1000, "");
      events.push_back({.kind = Event::Kind::kGoodbye});
      return Ok();
    case Opcode::kText:
    case Opcode::kBinary:
      return HandleData(message, events);
    default:
      return Ok();
  }
}

Status WebSocketChannels::HandleData(WebSocketMessage& message, std::vector<Event>& events) const {
  if (message.payload.empty()) return Ok();
  const auto first = static_cast<uint8_t>(message.payload[0]);
  if (options_.close_signal && first == kCloseSignal && message.payload.size() == 2) {
    events.push_back(
        {.kind = Event::Kind::kEnded, .stream = static_cast<uint8_t>(message.payload[1])});
    return Ok();
  }
  const uint32_t stream = options_.base64 ? first - uint32_t{'0'} : first;
  if (stream >= options_.channels) {
    return Error(Code::kInvalidArgument, StrCat("websocket: no channel ", stream));
  }
  message.payload.erase(0, 1);
  if (options_.base64) {
    auto plain = FromBase64(message.payload);
    if (!plain) return Error(Code::kInvalidArgument, "websocket: malformed base64");
    message.payload = std::move(*plain);
  }
  if (message.payload.empty()) return Ok();
  events.push_back(
      {.kind = Event::Kind::kData, .stream = stream, .data = std::move(message.payload)});
  return Ok();
}

void WebSocketChannels::Write(uint32_t stream, std::string_view data) {
  if (closed_ || stream >= options_.channels) return;
  std::string payload;
  payload.reserve(data.size() + 1);
  payload += static_cast<char>(options_.base64 ? '0' + stream : stream);
  if (options_.base64) {
    payload += ToBase64(data);
  } else {
    payload += data;
  }
  AppendWebSocketMessage(out_, options_.base64 ? Opcode::kText : Opcode::kBinary, payload);
}

void WebSocketChannels::CloseWith(uint16_t code, std::string_view reason) {
  if (closed_) return;
  closed_ = true;
  AppendWebSocketMessage(out_, Opcode::kClose, ClosePayload(code, reason));
}

}  // namespace berth::cri::stream
