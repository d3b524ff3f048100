#include "image/pull_stats.h"

#include "base/time.h"

namespace berth::image {

namespace {

std::string Ms(int64_t ns) {
  return StrCat(ns / 1'000'000, " ms");
}

}  // namespace

PullTimes::PullTimes() : begun_ns_(MonotonicNs()), lap_ns_(begun_ns_) {}

int64_t PullTimes::Lap() {
  const int64_t now = MonotonicNs();
  return now - std::exchange(lap_ns_, now);
}

void PullTimes::ManifestRead() {
  manifest_ns_ = Lap();
}

void PullTimes::LayersThere(ProgressBoard& board) {
  const int64_t begun = lap_ns_;
  const int64_t took = Lap();
  const int64_t downloaded = board.downloaded_at_ns();
  download_ns_ = downloaded == 0 ? 0 : downloaded - begun;
  unpack_ns_ = took - download_ns_;
}

void PullTimes::Recorded() {
  record_ns_ = Lap();
}

int64_t PullTimes::total_ns() const {
  return MonotonicNs() - begun_ns_;
}

std::string PullTimes::Text() const {
  return StrCat(Ms(total_ns()), ": manifest and configuration ", Ms(manifest_ns_), ", download ",
                Ms(download_ns_), ", unpacking after it ", Ms(unpack_ns_), ", record ",
                Ms(record_ns_));
}

void PullStats::PullEnded(Code code, int64_t duration_ns) {
  pulls_.at(static_cast<size_t>(code)).Add();
  if (code == Code::kOk) seconds_.Observe(duration_ns);
}

void PullStats::LayersEnded(const std::vector<LayerProgress>& layers) {
  for (const LayerProgress& layer : layers) {
    if (layer.state == LayerState::kExists) {
      existing_.Add();
      continue;
    }
    if (layer.state == LayerState::kDone) pulled_.Add();
    if (layer.state == LayerState::kFailed) failed_.Add();
    bytes_.Add(static_cast<uint64_t>(layer.done_bytes));
  }
}

void PullStats::WriteTo(PrometheusText& text) const {
  using Type = PrometheusText::Type;
  text.Family("berth_image_pulls_total", Type::kCounter, "Pulls that have ended, by their code.");
  for (size_t i = 0; i < pulls_.size(); ++i) {
    if (i > 0 && pulls_[i].value() == 0) continue;
    text.Sample({{"code", std::string(NameOf(static_cast<Code>(i)))}}, pulls_[i].value());
  }
  text.Family("berth_image_pull_seconds", Type::kHistogram, "How long successful pulls took.");
  text.Histogram({}, seconds_);
  text.Family("berth_image_pull_bytes_total", Type::kCounter,
              "Bytes of layers that pulls have downloaded.");
  text.Sample({}, bytes_.value());
  text.Family("berth_image_pull_layers_total", Type::kCounter,
              "Layers of pulls: done, exists (nothing to download) or failed.");
  text.Sample({{"state", "done"}}, pulled_.value());
  text.Sample({{"state", "exists"}}, existing_.value());
  text.Sample({{"state", "failed"}}, failed_.value());
}

}  // namespace berth::image
