// The bounds of a layer. They are far beyond any image seen in the field, and keep a hostile one
// from taking the machine's memory, disk or time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace berth::image {

// Entries, with the directories that are made because entries lie in them.
inline constexpr uint64_t kMaxEntries = 10'000'000;
inline constexpr size_t kMaxPathBytes = 4096;
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxDepth = 2000;                   // directories, also by way of symlinks
inline constexpr int64_t kMaxFileBytes = int64_t{1} << 40;  // apparent size, holes included
inline constexpr int64_t kMaxOwner = 2147483647;            // larger ids are -1 to some tools
inline constexpr size_t kMaxXattrBytes = 65536;             // of one value (XATTR_SIZE_MAX)
inline constexpr size_t kMaxXattrs = 256;                   // of one entry
// Of the tar, from one entry to the next without the content: headers, extended headers, sparse
// map.
inline constexpr uint64_t kMaxHeaderBytes = 16 << 20;
// Paths of directories whose times are set at the end.
inline constexpr size_t kMaxDirectoryBytes = 128 << 20;
// The uncompressed tar may be this large, or kMaxRatio times the blob beyond it. Deflate cannot
// exceed 1032; zstd can make anything of nothing.
inline constexpr uint64_t kFreeTarBytes = uint64_t{4} << 30;
inline constexpr uint64_t kMaxRatio = 256;
inline constexpr uint64_t kMaxTarBytes = uint64_t{1} << 40;
// Address space of the worker. A zstd window takes up to 128 MiB of it.
inline constexpr uint64_t kMaxAddressSpace = uint64_t{512} << 20;

}  // namespace berth::image
