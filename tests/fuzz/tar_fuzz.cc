// A layer as it comes from a registry, through everything that reads it: inflating, and the tar.
// The first byte says how it is compressed.
#include <sys/mman.h>
#include <unistd.h>

#include <clocale>
#include <cstdint>
#include <cstdlib>

#include "base/fd.h"
#include "image/unpack/layer_tree.h"
#include "image/unpack/limits.h"
#include "image/unpack/tar_reader.h"

namespace berth::image {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// What the writer relies on.
void CheckEntry(const TarEntry& entry) {
  Require(entry.path.size() <= kMaxPathBytes && entry.link.size() <= kMaxPathBytes);
  Require(entry.size >= 0 && entry.size <= kMaxFileBytes);
  Require(entry.uid <= kMaxOwner && entry.gid <= kMaxOwner);
  Require((entry.mode & ~mode_t{07777}) == 0);
  for (const auto& [name, value] : entry.xattrs) {
    Require(name.substr(0, 8) != "trusted." && value.size() <= kMaxXattrBytes);
  }
  auto path = CleanPath(entry.path);
  if (!path.ok()) return;
  Require(path->substr(0, 1) != "/" && path->substr(0, 2) != "..");
}

void ReadLayer(int blob, Compression compression) {
  // Content is bounded here, not by the format: a few bytes may stand for a file of any size.
  constexpr int kMaxSteps = 2000;
  TarStream stream(blob, compression);
  stream.Begin();
  TarReader reader(stream);
  TarEntry entry;
  for (int steps = 0; steps < kMaxSteps; ++steps) {
    auto more = reader.Next(entry);
    if (!more.ok() || !*more) return;
    CheckEntry(entry);
    DataBlock block;
    for (; steps < kMaxSteps; ++steps) {
      auto data = reader.NextData(block);
      if (!data.ok() || !*data) break;
    }
  }
}

}  // namespace
}  // namespace berth::image

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::setlocale(LC_ALL, "C.UTF-8");  // as the worker does
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using berth::image::Compression;
  if (size == 0) return 0;
  constexpr Compression kCompressions[] = {Compression::kNone, Compression::kGzip,
                                           Compression::kZstd};
  berth::UniqueFd blob(memfd_create("layer", MFD_CLOEXEC));
  if (!blob.ok() || write(blob.get(), data + 1, size - 1) != static_cast<ssize_t>(size - 1) ||
      lseek(blob.get(), 0, SEEK_SET) != 0) {
    return 0;
  }
  berth::image::ReadLayer(blob.get(), kCompressions[data[0] % 3]);
  return 0;
}
