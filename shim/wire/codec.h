// The binary form of what daemon and shim say to each other: fixed-width little-endian integers,
// strings and lists with a 32-bit length in front. Reading checks every length against what is
// left, so hostile or torn bytes give an error and never a read beyond the end.
//
// A struct takes part by a function that names its fields in order, for both directions:
//   template <typename Codec> void Fields(Codec& codec, Thing& thing) { codec(thing.a, thing.b); }
// A field is only ever added at the end: a reader with fewer bytes keeps the defaults, a reader
// with more ignores the rest, so that a new daemon understands the shims of an older one and vice
// versa.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace berth::shim::wire {

class Encoder {
 public:
  template <typename... Ts>
  void operator()(Ts&... fields) {
    (Put(fields), ...);
  }
  std::string Take() { return std::move(out_); }

 private:
  template <typename T>
  void Put(const T& value) {
    if constexpr (std::is_enum_v<T>) {
      Put(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_integral_v<T>) {
      out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else {
      // A nested struct is length-prefixed, so that it can grow on its own.
      size_t at = out_.size();
      out_.append(sizeof(uint32_t), '\0');
      Fields(*this, const_cast<T&>(value));
      PatchSize(at);
    }
  }
  void Put(const std::string& text) {
    Put(static_cast<uint32_t>(text.size()));
    out_.append(text);
  }
  template <typename T>
  void Put(const std::vector<T>& list) {
    Put(static_cast<uint32_t>(list.size()));
    for (const T& item : list) Put(item);
  }
  void PatchSize(size_t at) {
    auto size = static_cast<uint32_t>(out_.size() - at - sizeof(uint32_t));
    memcpy(out_.data() + at, &size, sizeof size);
  }

  std::string out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : left_(bytes) {}

  template <typename... Ts>
  void operator()(Ts&... fields) {
    (Get(fields), ...);
  }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  void Get(T& value) {
    if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number{};
      if (AtEnd()) return;
      Get(number);
      value = static_cast<T>(number);
    } else if constexpr (std::is_same_v<T, bool>) {
      uint8_t number = 0;
      if (AtEnd()) return;
      Get(number);
      value = number != 0;
    } else if constexpr (std::is_integral_v<T>) {
      if (AtEnd()) return;
      std::string_view bytes = Bytes(sizeof value);
      if (ok_) memcpy(&value, bytes.data(), sizeof value);
    } else {
      if (AtEnd()) return;
      Decoder nested(Bytes(Size()));
      Fields(nested, value);
      ok_ = ok_ && nested.ok_;
    }
  }
  void Get(std::string& text) {
    if (!AtEnd()) text = Bytes(Size());
  }
  template <typename T>
  void Get(std::vector<T>& list) {
    if (AtEnd()) return;
    uint32_t count = Size();
    list.clear();
    // Every item takes at least a byte, so a false count ends with the bytes.
    for (uint32_t i = 0; i < count && ok_; ++i) {
      if (left_.empty()) {
        ok_ = false;
        return;
      }
      Get(list.emplace_back());
    }
  }

  // A field that an older writer did not know: its default stays.
  bool AtEnd() const { return left_.empty(); }
  uint32_t Size() {
    uint32_t size = 0;
    std::string_view bytes = Bytes(sizeof size);
    if (ok_) memcpy(&size, bytes.data(), sizeof size);
    return size;
  }
  std::string_view Bytes(size_t count) {
    if (count > left_.size()) {
      ok_ = false;
      left_ = {};
      return {};
    }
    std::string_view bytes = left_.substr(0, count);
    left_.remove_prefix(count);
    return bytes;
  }

  std::string_view left_;
  bool ok_ = true;
};

template <typename T>
std::string Encode(const T& message) {
  Encoder encoder;
  Fields(encoder, const_cast<T&>(message));
  return encoder.Take();
}

template <typename T>
Result<T> Decode(std::string_view bytes) {
  T message;
  Decoder decoder(bytes);
  Fields(decoder, message);
  if (!decoder.ok()) return Error(Code::kDataLoss, "malformed shim message");
  return message;
}

}  // namespace berth::shim::wire
