// WebSocket messages (RFC 6455) as bytes, without I/O, and the opening handshake's answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cri/stream/remainder.h"

namespace berth::cri::stream {

enum class Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

struct WebSocketMessage {
  Opcode opcode = Opcode::kBinary;  // never kContinuation
  std::string payload;
};

// The most that one message may have, all its frames together.
inline constexpr size_t kMaxWebSocketMessage = 1 << 20;

enum class WebSocketSide { kServer, kClient };

// Cuts the bytes that one side receives into messages.
class WebSocketReader {
 public:
  explicit WebSocketReader(WebSocketSide receiver) : receiver_(receiver) {}
  // Adds what has become whole. After an error (InvalidArgument, or ResourceExhausted for too large
  // a message) nothing more can be read.
  Status Feed(std::string_view bytes, std::vector<WebSocketMessage>& messages);

 private:
  struct Frame;
  Result<std::optional<Frame>> TakeFrame(std::string_view& bytes) const;
  Status Assemble(Frame frame, std::vector<WebSocketMessage>& messages);

  WebSocketSide receiver_;
  Remainder pending_;
  std::optional<WebSocketMessage> fragments_;
};

// Appends one whole message. A client masks what it sends, a server does not; `mask` is then random
// and unknown to whoever made the payload.
void AppendWebSocketMessage(std::string& out, Opcode opcode, std::string_view payload,
                            std::optional<uint32_t> mask = std::nullopt);

// The payload of a close message.
std::string ClosePayload(uint16_t code, std::string_view reason);

// Sec-WebSocket-Accept for a client's Sec-WebSocket-Key.
std::string WebSocketAccept(std::string_view key);

}  // namespace berth::cri::stream
