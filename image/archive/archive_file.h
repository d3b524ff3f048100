// An archive of images on this machine: a tar, plain or compressed, or a directory.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "image/archive/archive_source.h"

namespace berth::image {

// Opens FILE, DIRECTORY or "-", standard input. What is compressed (gzip, zstd) or cannot be read
// at any offset is first copied to a temporary file without a name in $TMPDIR or /var/tmp. Errors
// name the path: NotFound, DataLoss (no tar, truncated), ResourceExhausted.
Result<std::unique_ptr<ArchiveSource>> OpenArchive(const std::string& path);

}  // namespace berth::image
