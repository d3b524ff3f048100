#include "snapshotter/names.h"

#include <algorithm>

namespace berth::snapshotter {

namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

bool IsLayerHex(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return IsDigit(c) || (c >= 'a' && c <= 'f');
         });
}

Result<std::string> LayerHex(std::string_view diff_id) {
  constexpr std::string_view kAlgorithm = "sha256:";
  if (diff_id.substr(0, kAlgorithm.size()) != kAlgorithm ||
      !IsLayerHex(diff_id.substr(kAlgorithm.size()))) {
    return Error(Code::kInvalidArgument,
                 StrCat("diffID \"", Printable(diff_id), "\" is not sha256:<64 hex digits>"));
  }
  return std::string(diff_id.substr(kAlgorithm.size()));
}

Status CheckSnapshotId(std::string_view id) {
  const bool plain = std::all_of(id.begin(), id.end(), [](char c) {
    return IsDigit(c) || IsLetter(c) || c == '-' || c == '_';
  });
  if (id.empty() || id.size() > kMaxSnapshotIdBytes || !plain) {
    return Error(Code::kInvalidArgument,
                 StrCat("snapshot id \"", Printable(id), "\" is not 1 to ", kMaxSnapshotIdBytes,
                        " letters, digits, '-' or '_'"));
  }
  return Ok();
}

}  // namespace berth::snapshotter
