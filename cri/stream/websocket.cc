#include "cri/stream/websocket.h"

#include <openssl/evp.h>

#include <array>
#include <cstring>

#include "base/base64.h"

namespace berth::cri::stream {

namespace {

constexpr uint8_t kFinal = 0x80, kReserved = 0x70, kOpcodeBits = 0x0f;
constexpr uint8_t kMasked = 0x80, kLengthBits = 0x7f;
constexpr size_t kMaxControlPayload = 125;
constexpr size_t kMaskBytes = 4;

void ApplyMask(char* data, size_t size, const char* mask) {
  uint64_t wide = 0;
  memcpy(&wide, mask, kMaskBytes);
  wide |= wide << 32;
  size_t i = 0;
  for (; i + sizeof wide <= size; i += sizeof wide) {
    uint64_t part = 0;
    memcpy(&part, data + i, sizeof part);
    part ^= wide;
    memcpy(data + i, &part, sizeof part);
  }
  for (; i < size; ++i) data[i] = static_cast<char>(data[i] ^ mask[i % kMaskBytes]);
}

bool IsControl(Opcode opcode) {
  return (static_cast<uint8_t>(opcode) & 0x8) != 0;
}

bool IsKnown(uint8_t opcode) {
  return opcode <= static_cast<uint8_t>(Opcode::kBinary) ||
         (opcode >= static_cast<uint8_t>(Opcode::kClose) &&
          opcode <= static_cast<uint8_t>(Opcode::kPong));
}

Error Malformed(std::string_view what) {
  return {Code::kInvalidArgument, StrCat("websocket: ", what)};
}

uint64_t BigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

}  // namespace

struct WebSocketReader::Frame {
  bool final = false;
  Opcode opcode = Opcode::kBinary;
  std::string payload;
};

Result<std::optional<WebSocketReader::Frame>> WebSocketReader::TakeFrame(
    std::string_view& bytes) const {
  if (bytes.size() < 2) return std::optional<Frame>();
  const auto first = static_cast<uint8_t>(bytes[0]);
  const auto second = static_cast<uint8_t>(bytes[1]);
  const bool masked = (second & kMasked) != 0;
  if ((first & kReserved) != 0) return Malformed("a reserved bit is set");
  if (!IsKnown(first & kOpcodeBits)) return Malformed("unknown kind of frame");
  if (masked != (receiver_ == WebSocketSide::kServer)) {
    return Malformed(masked ? "masked by the server" : "not masked by the client");
  }
  Frame frame;
  frame.final = (first & kFinal) != 0;
  frame.opcode = static_cast<Opcode>(first & kOpcodeBits);
  uint64_t length = second & kLengthBits;
  const size_t length_bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
  const size_t header = 2 + length_bytes + (masked ? kMaskBytes : 0);
  if (IsControl(frame.opcode) && (length > kMaxControlPayload || !frame.final)) {
    return Malformed("a control frame is too long or in parts");
  }
  if (bytes.size() < 2 + length_bytes) return std::optional<Frame>();
  if (length_bytes > 0) length = BigEndian(bytes.substr(2, length_bytes));
  if (length > kMaxWebSocketMessage) {
    return Error(Code::kResourceExhausted,
                 StrCat("websocket: a frame of ", length, " bytes, at most ", kMaxWebSocketMessage,
                        " are taken"));
  }
  if (bytes.size() < header + length) return std::optional<Frame>();
  frame.payload = bytes.substr(header, length);
  if (masked) {
    ApplyMask(frame.payload.data(), frame.payload.size(), bytes.data() + header - kMaskBytes);
  }
  bytes.remove_prefix(header + length);
  return std::optional<Frame>(std::move(frame));
}

Status WebSocketReader::Assemble(Frame frame, std::vector<WebSocketMessage>& messages) {
  if (IsControl(frame.opcode)) {
    messages.push_back({frame.opcode, std::move(frame.payload)});
    return Ok();
  }
  const bool continues = frame.opcode == Opcode::kContinuation;
  if (continues != fragments_.has_value()) {
    return Malformed(continues ? "a continuation of nothing" : "a message within another");
  }
  if (!continues && frame.final) {
    messages.push_back({frame.opcode, std::move(frame.payload)});
    return Ok();
  }
  if (!continues) fragments_ = WebSocketMessage{frame.opcode, {}};
  if (fragments_->payload.size() + frame.payload.size() > kMaxWebSocketMessage) {
    return Error(Code::kResourceExhausted,
                 StrCat("websocket: a message of more than ", kMaxWebSocketMessage, " bytes"));
  }
  fragments_->payload += frame.payload;
  if (frame.final) {
    messages.push_back(std::move(*fragments_));
    fragments_.reset();
  }
  return Ok();
}

Status WebSocketReader::Feed(std::string_view bytes, std::vector<WebSocketMessage>& messages) {
  bytes = pending_.Before(bytes);
  while (true) {
    ASSIGN_OR_RETURN(auto frame, TakeFrame(bytes));
    if (!frame) break;
    RETURN_IF_ERROR(Assemble(std::move(*frame), messages));
  }
  pending_.Keep(bytes);
  return Ok();
}

void AppendWebSocketMessage(std::string& out, Opcode opcode, std::string_view payload,
                            std::optional<uint32_t> mask) {
  out += static_cast<char>(kFinal | static_cast<uint8_t>(opcode));
  const uint8_t mask_bit = mask ? kMasked : 0;
  const uint64_t size = payload.size();
  if (size < 126) {
    out += static_cast<char>(mask_bit | size);
  } else {
    const int length_bytes = size <= UINT16_MAX ? 2 : 8;
    out += static_cast<char>(mask_bit | (length_bytes == 2 ? 126 : 127));
    for (int i = length_bytes - 1; i >= 0; --i) out += static_cast<char>(size >> (8 * i) & 0xff);
  }
  char key[kMaskBytes];
  if (mask) {
    memcpy(key, &*mask, sizeof key);
    out.append(key, sizeof key);
  }
  const size_t at = out.size();
  out += payload;
  if (mask) ApplyMask(out.data() + at, payload.size(), key);
}

std::string ClosePayload(uint16_t code, std::string_view reason) {
  std::string payload = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  payload += reason.substr(0, kMaxControlPayload - payload.size());
  return payload;
}

std::string WebSocketAccept(std::string_view key) {
  const std::string text = StrCat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  return ToBase64({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace berth::cri::stream
