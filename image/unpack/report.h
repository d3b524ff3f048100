// What the berth-unpack worker tells the daemon through its result pipe: one report, then end of
// file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "snapshotter/seal.h"

namespace berth::image {

struct UnpackReport {
  std::string blob_sha256;  // of what came in, 64 hex digits
  std::string tar_sha256;   // of what came out
  uint64_t blob_bytes = 0;
  uint64_t tar_bytes = 0;
  uint64_t disk_bytes = 0;  // as du counts
  uint64_t inodes = 0;
  snapshotter::Seal seal;
  std::vector<std::string> opaque;  // directories of the layer, "." for its root
};

// A report never gets larger than this: the worker refuses layers with more opaque directories.
inline constexpr size_t kMaxReportBytes = 16 << 20;

// Wire form: fields that each end with a NUL byte (paths hold none). "ok", the two digests, the
// four numbers, the seal, then the directories; or "error", the code, the message.
std::string EncodeReport(const Result<UnpackReport>& report);
// The worker's own error, or DataLoss where the text is not a whole report.
Result<UnpackReport> DecodeReport(std::string_view text);

}  // namespace berth::image
