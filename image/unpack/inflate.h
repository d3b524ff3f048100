// Streaming decompressors: gzip (several members), zstd (several frames), none.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "image/layer_unpacker.h"

namespace berth::image {

class Inflater {
 public:
  virtual ~Inflater() = default;
  // Consumes from `input` and writes at most `capacity` bytes; returns how many. Zero with input
  // left does not happen; zero without means that it needs more. DataLoss for what is not the
  // format.
  virtual Result<size_t> Inflate(std::string_view& input, char* out, size_t capacity) = 0;
  // Called at the end of the input: DataLoss if the stream ends in the middle.
  virtual Status Finish() = 0;
};

std::unique_ptr<Inflater> MakeInflater(Compression compression);

}  // namespace berth::image
