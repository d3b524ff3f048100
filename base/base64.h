// Base64 with the standard alphabet and padding (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace berth {

std::string ToBase64(std::string_view bytes);
// Nothing unless all of it is well-formed: whole groups of four, padding at the end only.
std::optional<std::string> FromBase64(std::string_view text);

}  // namespace berth
