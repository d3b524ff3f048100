// The content of /metrics. docs/METRICS.md lists it.
#pragma once

#include <string>

#include "cri/call_stats.h"
#include "image/image_store.h"
#include "image/puller.h"
#include "runtime/runtime.h"
#include "snapshotter/snapshotter.h"

namespace berth::cri {

struct MetricsParts {
  std::string version;
  CallStats& calls;
  image::Puller& puller;
  image::ImageStore& images;
  snapshotter::Snapshotter& snapshotter;
  runtime::Runtime& runtime;
};

// Blocks for no longer than ImageFsInfo does. What cannot be told is left out.
std::string MetricsPage(const MetricsParts& parts);

}  // namespace berth::cri
