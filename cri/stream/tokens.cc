#include "cri/stream/tokens.h"

#include "base/time.h"

namespace berth::cri::stream {

int64_t Tokens::MonotonicMs() {
  return MonotonicNs() / 1'000'000;
}

void Tokens::DropExpired(int64_t now_ms) {
  std::erase_if(waiting_, [now_ms](const auto& entry) { return entry.second.until_ms <= now_ms; });
}

Result<std::string> Tokens::IssueAt(Request request, int64_t now_ms) {
  std::string token = NewId();
  MutexLock lock(mutex_);
  if (waiting_.size() >= kMaxTokens) DropExpired(now_ms);
  if (waiting_.size() >= kMaxTokens) {
    return Error(Code::kResourceExhausted,
                 StrCat("too many streaming requests wait for their client, ", kMaxTokens,
                        ": try again in a minute"));
  }
  waiting_[token] = {std::move(request), now_ms + kLifetimeMs};
  return token;
}

std::optional<Request> Tokens::ConsumeAt(const std::string& token, int64_t now_ms) {
  MutexLock lock(mutex_);
  DropExpired(now_ms);
  auto it = waiting_.find(token);
  if (it == waiting_.end()) return std::nullopt;
  Request request = std::move(it->second.request);
  waiting_.erase(it);
  return request;
}

}  // namespace berth::cri::stream
