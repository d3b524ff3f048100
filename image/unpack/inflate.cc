#include "image/unpack/inflate.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

namespace berth::image {

namespace {

Error EndedEarly(std::string_view format) {
  return {Code::kDataLoss, StrCat("the ", format, " data ends in the middle: truncated")};
}

class PlainInflater : public Inflater {
 public:
  Result<size_t> Inflate(std::string_view& input, char* out, size_t capacity) override {
    const size_t n = std::min(input.size(), capacity);
    std::memcpy(out, input.data(), n);
    input.remove_prefix(n);
    return n;
  }
  Status Finish() override { return Ok(); }
};

// igzip reads a header's flags again at every call unless the header is kept (isal_gzip_header), so
// that one which is cut into pieces would be misread: headers are read apart from the data.
class GzipInflater : public Inflater {
 public:
  GzipInflater() {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP_NO_HDR_VER;
  }

  Result<size_t> Inflate(std::string_view& input, char* out, size_t capacity) override {
    state_.next_out = reinterpret_cast<uint8_t*>(out);
    state_.avail_out = static_cast<uint32_t>(capacity);
    do {
      if (at_ == Place::kBetweenMembers) {
        if (input.empty()) break;
        RETURN_IF_ERROR(BeginMember(input.front()));
      }
      RETURN_IF_ERROR(Run(input));
    } while (state_.avail_out == capacity && !input.empty());
    return capacity - state_.avail_out;
  }

  Status Finish() override {
    if (members_ > 0 && at_ == Place::kBetweenMembers) return Ok();
    return EndedEarly("gzip");
  }

 private:
  enum class Place { kBetweenMembers, kHeader, kData };

  Status BeginMember(char first) {
    // What follows a member is a member: anything else was not made by the one who made the blob.
    if (first != '\x1f') {
      return Error(Code::kDataLoss,
                   members_ == 0 ? "the data is not gzip" : "garbage follows the gzip data");
    }
    if (members_ > 0) isal_inflate_reset(&state_);
    isal_gzip_header_init(&header_);
    ++members_;
    at_ = Place::kHeader;
    return Ok();
  }

  Status Run(std::string_view& input) {
    const size_t offered = std::min<size_t>(input.size(), UINT32_MAX);
    state_.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(input.data()));
    state_.avail_in = static_cast<uint32_t>(offered);
    const bool in_header = at_ == Place::kHeader;
    const int result = in_header ? isal_read_gzip_header(&state_, &header_) : isal_inflate(&state_);
    if (result == ISAL_INCORRECT_CHECKSUM) {
      return Error(Code::kDataLoss, "gzip checksum mismatch: the data is corrupt");
    }
    // Of corrupt data igzip may count more as read than there was.
    if (result < 0 || result == ISAL_NEED_DICT || state_.avail_in > offered) {
      return Error(Code::kDataLoss, StrCat("the gzip data is corrupt (igzip error ", result, ")"));
    }
    input.remove_prefix(offered - state_.avail_in);
    if (in_header) {
      if (result == ISAL_DECOMP_OK) at_ = Place::kData;
    } else if (state_.block_state == ISAL_BLOCK_FINISH) {
      at_ = Place::kBetweenMembers;
    }
    return Ok();
  }

  inflate_state state_{};
  isal_gzip_header header_{};
  uint64_t members_ = 0;
  Place at_ = Place::kBetweenMembers;
};

class ZstdInflater : public Inflater {
 public:
  ZstdInflater() : context_(ZSTD_createDCtx()) {}

  Result<size_t> Inflate(std::string_view& input, char* out, size_t capacity) override {
    if (!context_) return Error(Code::kResourceExhausted, "no memory for zstd");
    ZSTD_outBuffer to{out, capacity, 0};
    do {
      ZSTD_inBuffer from{input.data(), input.size(), 0};
      // Without input only what is still buffered comes out; between frames that would begin one.
      if (input.empty() && between_frames_) break;
      const size_t hint = ZSTD_decompressStream(context_.get(), &to, &from);
      if (ZSTD_isError(hint) != 0) {
        return Error(Code::kDataLoss,
                     StrCat("the zstd data is corrupt: ", ZSTD_getErrorName(hint)));
      }
      input.remove_prefix(from.pos);
      between_frames_ = hint == 0;
      any_ = true;
    } while (to.pos == 0 && !input.empty());
    return to.pos;
  }

  Status Finish() override { return any_ && between_frames_ ? Ok() : EndedEarly("zstd"); }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool between_frames_ = true;
  bool any_ = false;
};

}  // namespace

std::unique_ptr<Inflater> MakeInflater(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return std::make_unique<GzipInflater>();
    case Compression::kZstd:
      return std::make_unique<ZstdInflater>();
    case Compression::kNone:
      break;
  }
  return std::make_unique<PlainInflater>();
}

}  // namespace berth::image
