#include "cri/stream/spdy_headers.h"

#include <zlib.h>

#include <array>

#include "cri/stream/spdy_dictionary.h"

namespace berth::cri::stream {

namespace {

// Little is sent, by many sessions: a small window is enough, and 8 KiB of state.
constexpr int kDeflateWindowBits = 10;
constexpr int kDeflateMemory = 1;

Bytef* Input(std::string_view bytes) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}

Error Malformed() {
  return {Code::kInvalidArgument, "spdy: malformed header block"};
}

// Reads 32-bit lengths and texts from an inflated block.
class BlockReader {
 public:
  explicit BlockReader(std::string_view bytes) : left_(bytes) {}
  Result<uint32_t> Number() {
    ASSIGN_OR_RETURN(std::string_view bytes, Bytes(4));
    uint32_t value = 0;
    for (char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  Result<std::string_view> Text() {
    ASSIGN_OR_RETURN(uint32_t size, Number());
    return Bytes(size);
  }
  bool at_end() const { return left_.empty(); }

 private:
  Result<std::string_view> Bytes(size_t count) {
    if (count > left_.size()) return Malformed();
    std::string_view bytes = left_.substr(0, count);
    left_.remove_prefix(count);
    return bytes;
  }
  std::string_view left_;
};

void AppendNumber(std::string& out, size_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

}  // namespace

void HeaderInflater::Free::operator()(z_stream_s* stream) const {
  inflateEnd(stream);
  delete stream;
}

HeaderInflater::HeaderInflater() : stream_(new z_stream_s{}) {
  inflateInit(stream_.get());
}

Result<std::string> HeaderInflater::InflateBytes(std::string_view block) {
  std::string out;
  std::array<char, 1024> part;
  z_stream_s& z = *stream_;
  z.next_in = Input(block);
  z.avail_in = static_cast<uInt>(block.size());
  while (true) {
    z.next_out = reinterpret_cast<Bytef*>(part.data());
    z.avail_out = part.size();
    int result = inflate(&z, Z_SYNC_FLUSH);
    if (result == Z_NEED_DICT) {
      const std::string_view dictionary = SpdyDictionary();
      result = inflateSetDictionary(&z, Input(dictionary), static_cast<uInt>(dictionary.size()));
      if (result != Z_OK) return Malformed();
      continue;
    }
    // Z_BUF_ERROR: neither input nor output was left to work on.
    if (result != Z_OK && result != Z_BUF_ERROR) return Malformed();
    out.append(part.data(), part.size() - z.avail_out);
    if (out.size() > kMaxHeaderBytes) {
      return Error(Code::kResourceExhausted, "spdy: a header block is too large");
    }
    if (z.avail_out > 0 && z.avail_in == 0) return out;
    if (result == Z_BUF_ERROR) return Malformed();
  }
}

Result<Headers> HeaderInflater::Inflate(std::string_view block) {
  ASSIGN_OR_RETURN(const std::string bytes, InflateBytes(block));
  BlockReader reader(bytes);
  ASSIGN_OR_RETURN(const uint32_t count, reader.Number());
  if (count > kMaxHeaderPairs) {
    return Error(Code::kResourceExhausted, StrCat("spdy: a block of ", count, " headers"));
  }
  Headers headers;
  for (uint32_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string_view name, reader.Text());
    ASSIGN_OR_RETURN(const std::string_view value, reader.Text());
    if (name.empty()) return Malformed();
    headers[ToLower(name)] = value;
  }
  if (!reader.at_end()) return Malformed();
  return headers;
}

void HeaderDeflater::Free::operator()(z_stream_s* stream) const {
  deflateEnd(stream);
  delete stream;
}

HeaderDeflater::HeaderDeflater() : stream_(new z_stream_s{}) {
  const std::string_view dictionary = SpdyDictionary();
  deflateInit2(stream_.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, kDeflateWindowBits, kDeflateMemory,
               Z_DEFAULT_STRATEGY);
  deflateSetDictionary(stream_.get(), Input(dictionary), static_cast<uInt>(dictionary.size()));
}

std::string HeaderDeflater::Deflate(const Headers& headers) {
  std::string block;
  AppendNumber(block, headers.size());
  for (const auto& [name, value] : headers) {
    AppendNumber(block, name.size());
    block += name;
    AppendNumber(block, value.size());
    block += value;
  }
  std::string out;
  std::array<char, 1024> part;
  z_stream_s& z = *stream_;
  z.next_in = Input(block);
  z.avail_in = static_cast<uInt>(block.size());
  do {
    z.next_out = reinterpret_cast<Bytef*>(part.data());
    z.avail_out = part.size();
    deflate(&z, Z_SYNC_FLUSH);
    out.append(part.data(), part.size() - z.avail_out);
  } while (z.avail_out == 0);
  return out;
}

}  // namespace berth::cri::stream
