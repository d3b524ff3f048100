// The part of a frame that has come, until the rest of it has.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace berth::cri::stream {

class Remainder {
 public:
  // What was kept, and `bytes` after it. Valid while `bytes` is, until the next call.
  std::string_view Before(std::string_view bytes) {
    if (kept_.empty()) return bytes;
    joined_ = std::exchange(kept_, {});
    return joined_ += bytes;
  }
  void Keep(std::string_view rest) {
    kept_ = rest;
    joined_ = {};
  }

 private:
  std::string kept_;
  std::string joined_;
};

}  // namespace berth::cri::stream
