// Compresses by gzip (igzip, fast): the same bytes in pieces of whatever size make the same bytes.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace berth::image {

class GzipSink {
 public:
  using Sink = std::function<Status(std::string_view bytes)>;
  explicit GzipSink(Sink sink);
  ~GzipSink();
  GzipSink(const GzipSink&) = delete;
  GzipSink& operator=(const GzipSink&) = delete;

  Status Write(std::string_view bytes);
  // Nothing may be written afterwards.
  Status Finish();

 private:
  struct State;
  Status Deflate(std::string_view bytes, bool last);

  const Sink sink_;
  std::unique_ptr<State> state_;
};

}  // namespace berth::image
