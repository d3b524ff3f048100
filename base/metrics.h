// Counters and histograms that their owners keep, and their text for Prometheus (text exposition
// format 0.0.4). There is no registry: whoever serves metrics asks each owner for its own.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth {

// Thread-safe.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Durations in buckets that suit both a look into memory and a pull of minutes. Thread-safe.
class DurationHistogram {
 public:
  static constexpr std::array<int64_t, 14> kBoundsMs = {
      1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10'000, 30'000, 60'000, 300'000};
  void Observe(int64_t duration_ns);
  // Of the bucket alone; the last is for all above the bounds.
  uint64_t bucket(size_t i) const { return buckets_[i].load(std::memory_order_relaxed); }
  int64_t sum_ns() const { return sum_ns_.load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kBoundsMs.size() + 1> buckets_{};
  std::atomic<int64_t> sum_ns_{0};
};

// Names and values are of this program; values may be any bytes and are escaped.
using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

// Builds the text: a family, then its samples.
class PrometheusText {
 public:
  enum class Type { kCounter, kGauge, kHistogram };

  void Family(std::string_view name, Type type, std::string_view help);
  void Sample(const MetricLabels& labels, uint64_t value);
  // A duration or a time, in seconds.
  void Seconds(const MetricLabels& labels, int64_t ns);
  void Histogram(const MetricLabels& labels, const DurationHistogram& histogram);
  std::string Take() { return std::move(text_); }

 private:
  void Line(std::string_view suffix, const MetricLabels& labels, std::string_view value);

  std::string name_;
  std::string text_;
};

}  // namespace berth
