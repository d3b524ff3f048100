// A set of durations or sizes, and what is reported of it.
#pragma once

#include <cstddef>
#include <vector>

namespace berth::bench {

class Samples {
 public:
  void Add(double value);
  void Append(const Samples& other);
  size_t count() const { return values_.size(); }
  bool empty() const { return values_.empty(); }
  // The smallest sample that at least `percent` of all samples do not exceed (nearest rank, so it
  // is always a value that was measured). 0 without samples.
  double Percentile(double percent) const;

 private:
  std::vector<double> values_;  // sorted
};

}  // namespace berth::bench
