// JSON that the shim writes: without a library, for its size.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace berth::shim {

// Quoted. Bytes that are not UTF-8 stay as they are.
void AppendJson(std::string_view text, std::string& out);
// A list of them.
void AppendJson(const std::vector<std::string>& texts, std::string& out);

}  // namespace berth::shim
