// The text with which SPDY/3 primes both sides' zlib streams (SPDY protocol draft 3, 2.6.10.1).
#pragma once

#include <string_view>

namespace berth::cri::stream {

std::string_view SpdyDictionary();

}  // namespace berth::cri::stream
