#include "tests/bench/samples.h"

#include <algorithm>
#include <cmath>

namespace berth::bench {

void Samples::Add(double value) {
  values_.insert(std::upper_bound(values_.begin(), values_.end(), value), value);
}

void Samples::Append(const Samples& other) {
  for (double value : other.values_) Add(value);
}

double Samples::Percentile(double percent) const {
  if (values_.empty()) return 0;
  auto rank = static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(values_.size())));
  return values_[std::clamp<size_t>(rank, 1, values_.size()) - 1];
}

}  // namespace berth::bench
