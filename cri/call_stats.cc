#include "cri/call_stats.h"

namespace berth::cri {

void MethodStats::Observe(Code code, int64_t duration_ns) {
  MutexLock lock(mutex_);
  by_code_[code].Observe(duration_ns);
}

void MethodStats::WriteTo(std::string_view service, std::string_view method, PrometheusText& text) {
  MutexLock lock(mutex_);
  for (const auto& [code, histogram] : by_code_) {
    text.Histogram({{"service", std::string(service)},
                    {"method", std::string(method)},
                    {"code", std::string(NameOf(code))}},
                   histogram);
  }
}

MethodStats& CallStats::OfMethod(std::string_view method) {
  MutexLock lock(mutex_);
  auto found = methods_.find(method);
  if (found == methods_.end()) found = methods_.try_emplace(std::string(method)).first;
  return found->second;
}

void CallStats::WriteTo(PrometheusText& text) {
  text.Family("berth_rpc_seconds", PrometheusText::Type::kHistogram,
              "How long calls took, by service, method and code; of streams, until their end.");
  MutexLock lock(mutex_);
  for (auto& [path, stats] : methods_) {
    const size_t slash = path.rfind('/');
    stats.WriteTo(std::string_view(path).substr(1, slash - 1),
                  std::string_view(path).substr(slash + 1), text);
  }
}

}  // namespace berth::cri
