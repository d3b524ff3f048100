// SPDY/3.1 frames as bytes (SPDY protocol draft 3.1, section 2.2): pure functions, without state.
//
//   data:     |0| stream 31 | flags 8 | length 24 | data
//   control:  |1| version 15 | type 16 | flags 8 | length 24 | what the type says
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace berth::cri::stream {

inline constexpr uint16_t kSpdyVersion = 3;
inline constexpr size_t kSpdyFrameHeader = 8;
// Longer frames are an error. What Kubernetes' clients send is below 33 KiB.
inline constexpr size_t kMaxSpdyData = 1 << 20;
inline constexpr size_t kMaxSpdyControl = 64 << 10;

enum class SpdyType : uint16_t {
  kData = 0,  // not a number of the protocol
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9,
};

inline constexpr uint8_t kSpdyFin = 1;
inline constexpr uint8_t kSpdyUnidirectional = 2;  // of SYN_STREAM

// Reasons of RST_STREAM.
inline constexpr uint32_t kSpdyProtocolError = 1;
inline constexpr uint32_t kSpdyInvalidStream = 2;
inline constexpr uint32_t kSpdyRefusedStream = 3;
inline constexpr uint32_t kSpdyCancel = 5;
inline constexpr uint32_t kSpdyStreamAlreadyClosed = 9;

struct SpdyFrame {
  SpdyType type = SpdyType::kData;  // may be a number that is not in the list
  uint8_t flags = 0;
  // Of data, and of the control frames that begin with one: SYN_STREAM, SYN_REPLY, RST_STREAM,
  // HEADERS, WINDOW_UPDATE. Of GOAWAY the last good stream, of PING its id.
  uint32_t stream = 0;
  // The reason of RST_STREAM and GOAWAY, the growth of WINDOW_UPDATE.
  uint32_t value = 0;
  // The data; the compressed header block; else what follows the above. Points into the input.
  std::string_view payload;
};

// Removes the first frame from the front of `bytes`; nothing if it is not whole yet.
// InvalidArgument for what can be no frame, ResourceExhausted for one that is too long.
Result<std::optional<SpdyFrame>> TakeSpdyFrame(std::string_view& bytes);

// The value of SETTINGS_INITIAL_WINDOW_SIZE in the payload of SETTINGS, if it is there.
Result<std::optional<uint32_t>> InitialWindowOf(const SpdyFrame& settings);

void AppendSpdyData(std::string& out, uint32_t stream, std::string_view data, bool fin);
// `words` are 32-bit numbers in network order, `tail` follows them.
void AppendSpdyControl(std::string& out, SpdyType type, uint8_t flags,
                       const std::vector<uint32_t>& words, std::string_view tail = {});

}  // namespace berth::cri::stream
