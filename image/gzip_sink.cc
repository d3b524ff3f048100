#include "image/gzip_sink.h"

#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <string>
#include <vector>

namespace berth::image {

namespace {

// The compressor's choices depend on how much it is given at a time: always so much.
constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kOutBytes = 64 << 10;

}  // namespace

struct GzipSink::State {
  isal_zstream stream;
  std::vector<uint8_t> level_buffer;
  std::string pending;
  std::string out;
};

GzipSink::GzipSink(Sink sink) : sink_(std::move(sink)), state_(std::make_unique<State>()) {
  isal_zstream& stream = state_->stream;
  isal_deflate_init(&stream);
  stream.gzip_flag = IGZIP_GZIP;
  stream.level = 1;
  state_->level_buffer.resize(ISAL_DEF_LVL1_DEFAULT);
  stream.level_buf = state_->level_buffer.data();
  stream.level_buf_size = static_cast<uint32_t>(state_->level_buffer.size());
  state_->pending.reserve(kPieceBytes);
  state_->out.resize(kOutBytes);
}

GzipSink::~GzipSink() = default;

Status GzipSink::Write(std::string_view bytes) {
  std::string& pending = state_->pending;
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), kPieceBytes - pending.size());
    pending.append(bytes.substr(0, part));
    bytes.remove_prefix(part);
    if (pending.size() < kPieceBytes) break;
    RETURN_IF_ERROR(Deflate(pending, /*last=*/false));
    pending.clear();
  }
  return Ok();
}

Status GzipSink::Finish() {
  return Deflate(state_->pending, /*last=*/true);
}

Status GzipSink::Deflate(std::string_view bytes, bool last) {
  isal_zstream& stream = state_->stream;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uint32_t>(bytes.size());
  stream.end_of_stream = last ? 1 : 0;
  do {
    stream.next_out = reinterpret_cast<uint8_t*>(state_->out.data());
    stream.avail_out = kOutBytes;
    if (const int result = isal_deflate(&stream); result != COMP_OK) {
      return Error(Code::kInternal, StrCat("gzip: igzip error ", result));
    }
    RETURN_IF_ERROR(sink_({state_->out.data(), kOutBytes - stream.avail_out}));
  } while (stream.avail_out == 0 || (last && stream.internal_state.state != ZSTATE_END));
  return Ok();
}

}  // namespace berth::image
