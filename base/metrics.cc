#include "base/metrics.h"

#include <array>
#include <cstdio>

#include "base/strings.h"
#include "base/utf8.h"

namespace berth {

namespace {

constexpr int64_t kMsNs = 1'000'000;
constexpr int64_t kSecondNs = 1'000'000'000;

// Without floating point, so that no digit is lost of a time since 1970.
std::string SecondsText(int64_t ns) {
  std::array<char, 48> text{};
  const char* sign = ns < 0 ? "-" : "";
  const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  snprintf(text.data(), text.size(), "%s%llu.%09llu", sign,
           static_cast<unsigned long long>(size / kSecondNs),
           static_cast<unsigned long long>(size % kSecondNs));
  std::string out = text.data();
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
  return out;
}

std::string Escape(std::string_view value) {
  std::string out;
  for (char c : ToUtf8(value)) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

void DurationHistogram::Observe(int64_t duration_ns) {
  size_t i = 0;
  while (i < kBoundsMs.size() && duration_ns > kBoundsMs[i] * kMsNs) ++i;
  buckets_[i].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(duration_ns, std::memory_order_relaxed);
}

void PrometheusText::Family(std::string_view name, Type type, std::string_view help) {
  constexpr std::array<std::string_view, 3> kTypes = {"counter", "gauge", "histogram"};
  name_ = name;
  text_ += StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " ",
                  kTypes[static_cast<size_t>(type)], "\n");
}

void PrometheusText::Line(std::string_view suffix, const MetricLabels& labels,
                          std::string_view value) {
  text_ += StrCat(name_, suffix);
  char separator = '{';
  for (const auto& [name, text] : labels) {
    text_ += StrCat(separator, name, "=\"", Escape(text), "\"");
    separator = ',';
  }
  if (!labels.empty()) text_ += '}';
  text_ += StrCat(" ", value, "\n");
}

void PrometheusText::Sample(const MetricLabels& labels, uint64_t value) {
  Line("", labels, StrCat(value));
}

void PrometheusText::Seconds(const MetricLabels& labels, int64_t ns) {
  Line("", labels, SecondsText(ns));
}

void PrometheusText::Histogram(const MetricLabels& labels, const DurationHistogram& histogram) {
  MetricLabels with_bound = labels;
  with_bound.emplace_back("le", "");
  uint64_t count = 0;
  for (size_t i = 0; i < DurationHistogram::kBoundsMs.size(); ++i) {
    count += histogram.bucket(i);
    with_bound.back().second = SecondsText(DurationHistogram::kBoundsMs[i] * kMsNs);
    Line("_bucket", with_bound, StrCat(count));
  }
  count += histogram.bucket(DurationHistogram::kBoundsMs.size());
  with_bound.back().second = "+Inf";
  Line("_bucket", with_bound, StrCat(count));
  Line("_sum", labels, SecondsText(histogram.sum_ns()));
  Line("_count", labels, StrCat(count));
}

}  // namespace berth
