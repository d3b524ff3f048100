// A pod and its containers as they are at one moment.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/index.h"
#include "runtime/types.h"

namespace berth::runtime {

struct PodSnapshot {
  int64_t timestamp_ns = 0;
  Pod pod;
  std::vector<Container> containers;  // all that have been created and not removed
};

// All of it held at `timestamp_ns`: nothing in it had changed before, or changed while it was read.
// Takes the index's lock and status locks, each for a moment.
PodSnapshot TakePodSnapshot(Index& index, PodEntry& pod);

}  // namespace berth::runtime
