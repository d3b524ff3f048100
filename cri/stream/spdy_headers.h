// Header blocks of SPDY/3: pairs with lengths, compressed by one zlib stream for each direction of
// a connection, so that every block must be inflated, in order, to understand the next.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cri/stream/mux.h"

struct z_stream_s;

namespace berth::cri::stream {

// More than this in one block is an error: what Kubernetes sends has some hundred bytes.
inline constexpr size_t kMaxHeaderBytes = 16 << 10;
inline constexpr size_t kMaxHeaderPairs = 64;

class HeaderInflater {
 public:
  HeaderInflater();
  // InvalidArgument for what is malformed, ResourceExhausted for what is too large. After an error
  // no further block can be read.
  Result<Headers> Inflate(std::string_view block);

 private:
  Result<std::string> InflateBytes(std::string_view block);

  struct Free {
    void operator()(z_stream_s* stream) const;
  };
  std::unique_ptr<z_stream_s, Free> stream_;
};

class HeaderDeflater {
 public:
  HeaderDeflater();
  std::string Deflate(const Headers& headers);

 private:
  struct Free {
    void operator()(z_stream_s* stream) const;
  };
  std::unique_ptr<z_stream_s, Free> stream_;
};

}  // namespace berth::cri::stream
