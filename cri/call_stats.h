// How often each RPC was called, how it ended and how long it took.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"
#include "base/sync.h"

namespace berth::cri {

// Thread-safe.
class MethodStats {
 public:
  void Observe(Code code, int64_t duration_ns) EXCLUDES(mutex_);
  // Adds the samples of one method to the family.
  void WriteTo(std::string_view service, std::string_view method, PrometheusText& text)
      EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::map<Code, DurationHistogram> by_code_ GUARDED_BY(mutex_);  // entries stay where they are
};

// Thread-safe.
class CallStats {
 public:
  // `method` is "/runtime.v1.RuntimeService/Version", of a service that the server has. The
  // reference stays good.
  MethodStats& OfMethod(std::string_view method) EXCLUDES(mutex_);
  void WriteTo(PrometheusText& text) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::map<std::string, MethodStats, std::less<>> methods_ GUARDED_BY(mutex_);
};

}  // namespace berth::cri
