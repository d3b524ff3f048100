// Text that must be UTF-8 to be passed on: protobuf's strings, JSON.
#pragma once

#include <string>
#include <string_view>

namespace berth {

bool IsUtf8(std::string_view text);

// Bytes that are not UTF-8 become U+FFFD. A protobuf string with one wrong byte makes the client
// refuse the whole answer, so every text that did not come in by protobuf goes through here.
std::string ToUtf8(std::string_view text);

}  // namespace berth
