// What pulls have done since the start, for metrics, and where one has spent its time, for the log.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/metrics.h"
#include "base/result.h"
#include "image/progress.h"

namespace berth::image {

// The stages of one pull, one after another.
class PullTimes {
 public:
  PullTimes();
  // The stage that ends now. Nothing for those that a pull without a need for them leaves out.
  void ManifestRead();
  void LayersThere(ProgressBoard& board);
  void Recorded();
  int64_t total_ns() const;
  // "1234 ms: manifest and configuration 30 ms, download 900 ms, unpacking after it 250 ms, record
  // 2 ms"
  std::string Text() const;

 private:
  int64_t Lap();
  int64_t begun_ns_, lap_ns_;
  int64_t manifest_ns_ = 0, download_ns_ = 0, unpack_ns_ = 0, record_ns_ = 0;
};

// Thread-safe.
class PullStats {
 public:
  void PullEnded(Code code, int64_t duration_ns);
  void LayersEnded(const std::vector<LayerProgress>& layers);
  void WriteTo(PrometheusText& text) const;

 private:
  std::array<Counter, kCodeCount> pulls_;
  DurationHistogram seconds_;  // of those that succeeded
  Counter bytes_, pulled_, existing_, failed_;
};

}  // namespace berth::image
