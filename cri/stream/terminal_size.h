// The sizes of a client's terminal, which come as JSON objects: {"Width":80,"Height":24}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::cri::stream {

struct TerminalSize {
  uint16_t width = 0, height = 0;
};

class TerminalSizeReader {
 public:
  // The last size that has become whole, if one has. What is no such object is skipped.
  std::optional<TerminalSize> Feed(std::string_view bytes);

 private:
  std::string pending_;
};

}  // namespace berth::cri::stream
