#include "cri/stream/spdy_frame.h"

namespace berth::cri::stream {

namespace {

constexpr uint32_t kControlBit = 0x80000000;
constexpr uint32_t kStreamBits = 0x7fffffff;
constexpr uint32_t kLengthBits = 0x00ffffff;
constexpr uint32_t kInitialWindowSize = 7;
constexpr size_t kMaxSettings = 64;

uint32_t Word(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

void AppendWord(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

// What a control frame has in front of its payload.
struct Layout {
  size_t words = 0;    // 32-bit numbers: the stream, then the value
  size_t skipped = 0;  // bytes after them that mean nothing here
  bool exact = false;  // nothing may follow
};

Layout LayoutOf(SpdyType type) {
  switch (type) {
    case SpdyType::kSynStream:
      return {.words = 1, .skipped = 6};  // associated stream, priority, slot
    case SpdyType::kSynReply:
    case SpdyType::kHeaders:
      return {.words = 1};
    case SpdyType::kRstStream:
    case SpdyType::kGoAway:
    case SpdyType::kWindowUpdate:
      return {.words = 2, .exact = true};
    case SpdyType::kPing:
      return {.words = 1, .exact = true};
    default:
      return {};
  }
}

Result<SpdyFrame> ControlFrame(uint32_t first, uint8_t flags, std::string_view body) {
  const uint32_t version = first >> 16 & 0x7fff;
  if (version != kSpdyVersion) {
    return Error(Code::kInvalidArgument, StrCat("spdy: version ", version, ", expected 3"));
  }
  SpdyFrame frame;
  frame.type = static_cast<SpdyType>(first & 0xffff);
  frame.flags = flags;
  if (frame.type == SpdyType::kData) return Error(Code::kInvalidArgument, "spdy: control frame 0");
  const Layout layout = LayoutOf(frame.type);
  const size_t fixed = 4 * layout.words + layout.skipped;
  if (body.size() < fixed || (layout.exact && body.size() != fixed)) {
    return Error(Code::kInvalidArgument,
                 StrCat("spdy: control frame ", first & 0xffff, " of ", body.size(), " bytes"));
  }
  if (layout.words > 0) frame.stream = Word(body, 0);
  // A ping's number has 32 bits.
  if (frame.type != SpdyType::kPing) frame.stream &= kStreamBits;
  if (layout.words > 1) frame.value = Word(body, 4);
  frame.payload = body.substr(fixed);
  return frame;
}

}  // namespace

Result<std::optional<SpdyFrame>> TakeSpdyFrame(std::string_view& bytes) {
  if (bytes.size() < kSpdyFrameHeader) return std::optional<SpdyFrame>();
  const uint32_t first = Word(bytes, 0);
  const uint32_t second = Word(bytes, 4);
  const bool control = (first & kControlBit) != 0;
  const size_t length = second & kLengthBits;
  const size_t limit = control ? kMaxSpdyControl : kMaxSpdyData;
  if (length > limit) {
    return Error(Code::kResourceExhausted,
                 StrCat("spdy: a frame of ", length, " bytes, at most ", limit, " are taken"));
  }
  if (bytes.size() < kSpdyFrameHeader + length) return std::optional<SpdyFrame>();
  const std::string_view body = bytes.substr(kSpdyFrameHeader, length);
  const auto flags = static_cast<uint8_t>(second >> 24);
  SpdyFrame frame;
  if (control) {
    ASSIGN_OR_RETURN(frame, ControlFrame(first, flags, body));
  } else {
    frame = {SpdyType::kData, flags, first, 0, body};
  }
  bytes.remove_prefix(kSpdyFrameHeader + length);
  return std::optional<SpdyFrame>(frame);
}

Result<std::optional<uint32_t>> InitialWindowOf(const SpdyFrame& settings) {
  const std::string_view body = settings.payload;
  const size_t count = body.size() < 4 ? SIZE_MAX : Word(body, 0);
  if (count > kMaxSettings || body.size() != 4 + 8 * count) {
    return Error(Code::kInvalidArgument, "spdy: malformed SETTINGS");
  }
  std::optional<uint32_t> window;
  for (size_t i = 0; i < count; ++i) {
    if ((Word(body, 4 + 8 * i) & kLengthBits) == kInitialWindowSize) window = Word(body, 8 + 8 * i);
  }
  return window;
}

void AppendSpdyData(std::string& out, uint32_t stream, std::string_view data, bool fin) {
  AppendWord(out, stream);
  AppendWord(out, static_cast<uint32_t>(data.size()) | (fin ? uint32_t{kSpdyFin} << 24 : 0));
  out += data;
}

void AppendSpdyControl(std::string& out, SpdyType type, uint8_t flags,
                       const std::vector<uint32_t>& words, std::string_view tail) {
  AppendWord(out, kControlBit | uint32_t{kSpdyVersion} << 16 | static_cast<uint32_t>(type));
  AppendWord(out, uint32_t{flags} << 24 | static_cast<uint32_t>(4 * words.size() + tail.size()));
  for (uint32_t word : words) AppendWord(out, word);
  out += tail;
}

}  // namespace berth::cri::stream
