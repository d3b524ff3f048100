// Small text helpers: concatenation without streams, strict number parsing, splitting.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace berth {

namespace strings_internal {
inline std::string_view Piece(std::string_view s, char*) {
  return s;
}
template <typename T>
requires std::is_integral_v<T> std::string_view Piece(T number, char* buffer) {
  if constexpr (std::is_same_v<T, char>) {
    *buffer = number;
    return {buffer, 1};
  } else if constexpr (std::is_same_v<T, bool>) {
    return number ? "true" : "false";
  } else {
    auto end = std::to_chars(buffer, buffer + 24, number).ptr;
    return {buffer, static_cast<size_t>(end - buffer)};
  }
}
}  // namespace strings_internal

// Joins strings and integers. Used on hot paths and in the shim, so it avoids iostreams.
template <typename... Args>
std::string StrCat(const Args&... args) {
  std::string out;
  char buffer[24];
  (out.append(strings_internal::Piece(args, buffer)), ...);
  return out;
}

// The whole text as a decimal number; nothing for empty, signs on unsigned, blanks, or overflow.
template <typename T>
std::optional<T> ParseNumber(std::string_view text, int base = 10) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::vector<std::string_view> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view Trim(std::string_view text);  // blanks, tabs and line ends on both sides
std::string ToLower(std::string_view text);    // ASCII only
std::string ToHex(const void* data, size_t size);

// Text of unknown origin made fit for a log line or an error: control bytes and non-ASCII become
// \xNN, and at most `max_bytes` of the input are shown.
std::string Printable(std::string_view text, size_t max_bytes = 256);

// A random identifier of 64 lower-case hex digits (32 bytes of getrandom), the form that CRI users
// know from pods and containers.
std::string NewId();

}  // namespace berth
