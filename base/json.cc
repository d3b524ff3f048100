#include "base/json.h"

namespace berth {

namespace {

constexpr int kMaxDepth = 64;

Error WrongType(const char* key, const char* wanted) {
  return {Code::kInvalidArgument, StrCat("\"", key, "\" is not ", wanted)};
}

}  // namespace

Result<Json> ParseJson(std::string_view text) {
  bool too_deep = false;
  auto watch = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) too_deep = true;
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (too_deep) return Error(Code::kInvalidArgument, StrCat("JSON nests deeper than ", kMaxDepth));
  if (json.is_discarded()) return Error(Code::kInvalidArgument, "not valid JSON");
  return json;
}

Result<std::string> JsonString(const Json& object, const char* key, std::string fallback) {
  if (!object.is_object()) return Error(Code::kInvalidArgument, "not a JSON object");
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_string()) return WrongType(key, "a string");
  return it->get<std::string>();
}

Result<int64_t> JsonInt(const Json& object, const char* key, int64_t fallback) {
  if (!object.is_object()) return Error(Code::kInvalidArgument, "not a JSON object");
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_number_integer()) return WrongType(key, "an integer");
  return it->get<int64_t>();
}

Result<bool> JsonBool(const Json& object, const char* key, bool fallback) {
  if (!object.is_object()) return Error(Code::kInvalidArgument, "not a JSON object");
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_boolean()) return WrongType(key, "a boolean");
  return it->get<bool>();
}

Result<std::vector<std::string>> JsonStrings(const Json& object, const char* key) {
  if (!object.is_object()) return Error(Code::kInvalidArgument, "not a JSON object");
  std::vector<std::string> out;
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return out;
  if (!it->is_array()) return WrongType(key, "a list of strings");
  for (const Json& item : *it) {
    if (!item.is_string()) return WrongType(key, "a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::string ToText(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace berth
