// The seal of a layer: by what one tells later that its tree is still as it was unpacked.
//
// It is a sum, so that it can be made while the tree is written, in whatever order the entries
// come: of a hash (XXH3, 128 bits) for every name in the tree, over its path, type, mode, owner,
// modification time, device number, size, content and extended attributes. It finds what a power
// loss, a bad disk or a careless hand has changed. It is no defence against somebody who may write
// to the store: he can write a seal, too.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "snapshotter/layer_xattrs.h"

struct XXH3_state_s;

namespace berth::snapshotter {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
};

struct Seal {
  uint64_t entries = 0;  // names, the root's too
  uint64_t bytes = 0;    // sizes of files, once for each of their names
  Hash128 sum;
  bool operator==(const Seal&) const = default;
};

// "ENTRIES-BYTES-<32 hex digits>".
std::string FormatSeal(const Seal& seal);
// DataLoss for another text.
Result<Seal> ParseSeal(std::string_view text);

Hash128 HashOf(std::string_view bytes);

// The hash of a file's content. Blocks of zeros do not count, so that holes cost nothing, and a
// file may have them where the file system likes.
class ContentHash {
 public:
  ContentHash();
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;

  // What is skipped is zeros. False, and nothing else, for an offset before the last piece's end.
  bool Add(uint64_t offset, std::string_view bytes);
  // Begins anew after it.
  Hash128 Finish();

 private:
  static constexpr size_t kBlockBytes = 4096;
  void AddBlocks(uint64_t first, std::string_view bytes);  // whole ones
  void SkipTo(uint64_t offset);

  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
  uint64_t position_ = 0;
  uint64_t next_block_ = 0;  // follows the last block that counted
  // The block at `position_` as far as it is known: position_ % kBlockBytes bytes.
  std::array<char, kBlockBytes> partial_;
};

// What belongs to a file, not to its name.
struct SealedBody {
  Hash128 content;  // of a file; of a symlink its target's
  Hash128 xattrs;   // zero without any
};
Hash128 HashXattrs(const LayerXattrs& xattrs);

class SealBuilder {
 public:
  // `path` is relative to the layer's root, "" is that itself.
  void Add(std::string_view path, const struct stat& info, const SealedBody& body);
  void AddOpaque(std::string_view path);
  // All that `seal` counts.
  void AddSeal(const Seal& seal);
  const Seal& seal() const { return seal_; }

 private:
  void AddHash(std::string_view bytes);

  Seal seal_;
  std::string buffer_;
};

}  // namespace berth::snapshotter
