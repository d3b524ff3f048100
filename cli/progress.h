// Layers on their way, shown to a person: lines that are redrawn on a terminal, one line for each
// thing that happens elsewhere.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cri/proto/berth.pb.h"

namespace berth::cli {

namespace bv1 = ::berth::v1;

using LayerList = google::protobuf::RepeatedPtrField<bv1::LayerProgress>;

// One line a layer if they fit into `rows`; else those that are under way, and a line that counts
// the others. No line is longer than `columns`.
std::vector<std::string> ProgressLines(const LayerList& layers, size_t rows, size_t columns);

// What has changed from one to the other, a line for each: "0123456789ab: done, 3.4 MiB".
std::vector<std::string> ProgressChanges(const LayerList& before, const LayerList& now);

class ProgressView {
 public:
  // Writes to the descriptor, which is borrowed.
  explicit ProgressView(int fd);
  void Show(const LayerList& layers);

 private:
  const int fd_;
  const bool terminal_;
  size_t drawn_ = 0;  // lines above the cursor that are ours
  LayerList last_;
};

}  // namespace berth::cli
