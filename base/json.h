// JSON of unknown origin, parsed with bounds and without exceptions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace berth {

using Json = nlohmann::json;

// InvalidArgument if it is not one JSON document or nests deeper than 64.
Result<Json> ParseJson(std::string_view text);

// Typed look-ups in an object: the default where the key is absent or null, InvalidArgument naming
// the key where the type is another.
Result<std::string> JsonString(const Json& object, const char* key, std::string fallback = "");
Result<int64_t> JsonInt(const Json& object, const char* key, int64_t fallback = 0);
Result<bool> JsonBool(const Json& object, const char* key, bool fallback = false);
Result<std::vector<std::string>> JsonStrings(const Json& object, const char* key);

// Compact text; bytes that are not UTF-8 become U+FFFD.
std::string ToText(const Json& json);

}  // namespace berth
