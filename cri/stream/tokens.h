// One-use tokens: what was asked for over CRI waits under a name that nobody can guess until a
// client comes for it over HTTP.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/sync.h"
#include "cri/stream/requests.h"

namespace berth::cri::stream {

// Thread-safe.
class Tokens {
 public:
  static constexpr size_t kMaxTokens = 1000;
  static constexpr int64_t kLifetimeMs = 60'000;

  // 64 hex digits, good once and for a minute. ResourceExhausted while too many wait.
  Result<std::string> Issue(Request request) { return IssueAt(std::move(request), MonotonicMs()); }
  // Nothing if there is no such token, or not any more.
  std::optional<Request> Consume(const std::string& token) {
    return ConsumeAt(token, MonotonicMs());
  }

  // The same at a given moment.
  Result<std::string> IssueAt(Request request, int64_t now_ms);
  std::optional<Request> ConsumeAt(const std::string& token, int64_t now_ms);

 private:
  struct Waiting {
    Request request;
    int64_t until_ms = 0;
  };
  static int64_t MonotonicMs();
  void DropExpired(int64_t now_ms) REQUIRES(mutex_);

  Mutex mutex_;
  std::map<std::string, Waiting> waiting_ GUARDED_BY(mutex_);
};

}  // namespace berth::cri::stream
