// The worker's work, without its sandbox: a blob in, files in a directory out.
#pragma once

#include "base/result.h"
#include "image/unpack/report.h"
#include "image/unpack/tar_stream.h"

namespace berth::image {

// Unpacks the whole stream (whose Begin() was called) into `root`, an empty directory. Errors have
// one of the codes DataLoss, InvalidArgument, ResourceExhausted and Internal.
Result<UnpackReport> UnpackStream(TarStream& stream, int root);

}  // namespace berth::image
