#include "cri/stream/terminal_size.h"

#include "base/json.h"

namespace berth::cri::stream {

namespace {

constexpr size_t kMaxObjectBytes = 256;

std::optional<TerminalSize> Parse(std::string_view text) {
  auto json = ParseJson(text);
  if (!json.ok() || !json->is_object()) return std::nullopt;
  auto width = JsonInt(*json, "Width");
  auto height = JsonInt(*json, "Height");
  const auto fits = [](const Result<int64_t>& n) { return n.ok() && *n > 0 && *n <= UINT16_MAX; };
  if (!fits(width) || !fits(height)) return std::nullopt;
  return TerminalSize{static_cast<uint16_t>(*width), static_cast<uint16_t>(*height)};
}

}  // namespace

std::optional<TerminalSize> TerminalSizeReader::Feed(std::string_view bytes) {
  std::optional<TerminalSize> last;
  pending_ += bytes;
  size_t end = 0;
  while ((end = pending_.find('}')) != std::string::npos) {
    if (auto size = Parse(std::string_view(pending_).substr(0, end + 1))) last = size;
    pending_.erase(0, end + 1);
  }
  if (pending_.size() > kMaxObjectBytes) pending_.clear();
  return last;
}

}  // namespace berth::cri::stream
