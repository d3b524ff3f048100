#include "snapshotter/seal.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace berth::snapshotter {

namespace {

// Fields of fixed size, in the machine's order: a store does not move between kinds of machines.
struct EntryFields {
  uint64_t size, device;
  int64_t mtime_s, mtime_ns;
  Hash128 content, xattrs;
  uint32_t mode, uid, gid, unused;
};

Hash128 ToHash(XXH128_hash_t hash) {
  return {hash.low64, hash.high64};
}

}  // namespace

std::string FormatSeal(const Seal& seal) {
  char hex[33];
  snprintf(hex, sizeof hex, "%016llx%016llx", static_cast<unsigned long long>(seal.sum.high),
           static_cast<unsigned long long>(seal.sum.low));
  return StrCat(seal.entries, "-", seal.bytes, "-", hex);
}

Result<Seal> ParseSeal(std::string_view text) {
  const std::vector<std::string_view> parts = Split(text, '-');
  Seal seal;
  const auto hex = [](std::string_view digits, uint64_t* out) {
    *out = 0;
    for (const char c : digits) {
      const bool decimal = c >= '0' && c <= '9';
      if (!decimal && (c < 'a' || c > 'f')) return false;
      *out = *out << 4 | static_cast<uint64_t>(decimal ? c - '0' : c - 'a' + 10);
    }
    return true;
  };
  const auto entries = parts.size() == 3 ? ParseNumber<uint64_t>(parts[0]) : std::nullopt;
  const auto bytes = parts.size() == 3 ? ParseNumber<uint64_t>(parts[1]) : std::nullopt;
  if (!entries || !bytes || parts[2].size() != 32 || !hex(parts[2].substr(0, 16), &seal.sum.high) ||
      !hex(parts[2].substr(16), &seal.sum.low)) {
    return Error(Code::kDataLoss, StrCat("\"", Printable(text), "\" is no seal"));
  }
  seal.entries = *entries;
  seal.bytes = *bytes;
  return seal;
}

Hash128 HashOf(std::string_view bytes) {
  return ToHash(XXH3_128bits(bytes.data(), bytes.size()));
}

Hash128 HashXattrs(const LayerXattrs& xattrs) {
  if (xattrs.empty()) return {};
  std::string text;
  for (const auto& [name, value] : xattrs) text += StrCat(name, "=", value.size(), ":", value);
  return HashOf(text);
}

ContentHash::ContentHash() : state_(XXH3_createState()) {
  XXH3_128bits_reset(state_.get());
}
ContentHash::~ContentHash() = default;

void ContentHash::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

void ContentHash::AddBlocks(uint64_t first, std::string_view bytes) {
  const auto is_zero = [&](size_t offset) {
    const char* block = bytes.data() + offset;
    return block[0] == 0 && std::memcmp(block, block + 1, kBlockBytes - 1) == 0;
  };
  size_t at = 0;
  while (at < bytes.size()) {
    if (is_zero(at)) {
      at += kBlockBytes;
      continue;
    }
    size_t end = at;
    while (end < bytes.size() && !is_zero(end)) end += kBlockBytes;
    const uint64_t block = first + at / kBlockBytes;
    // Where a run begins counts, unless it follows the last one.
    if (block != next_block_) XXH3_128bits_update(state_.get(), &block, sizeof block);
    XXH3_128bits_update(state_.get(), bytes.data() + at, end - at);
    next_block_ = first + end / kBlockBytes;
    at = end;
  }
}

void ContentHash::SkipTo(uint64_t offset) {
  const size_t filled = position_ % kBlockBytes;
  if (filled > 0) {
    const size_t zeros = std::min<uint64_t>(kBlockBytes - filled, offset - position_);
    std::memset(partial_.data() + filled, 0, zeros);
    if (filled + zeros == kBlockBytes) {
      AddBlocks(position_ / kBlockBytes, {partial_.data(), kBlockBytes});
    }
    position_ += zeros;
  }
  if (offset == position_) return;
  std::memset(partial_.data(), 0, offset % kBlockBytes);
  position_ = offset;
}

bool ContentHash::Add(uint64_t offset, std::string_view bytes) {
  if (offset < position_) return false;
  if (offset > position_) SkipTo(offset);
  while (!bytes.empty()) {
    const size_t filled = position_ % kBlockBytes;
    size_t taken = 0;
    if (filled == 0 && bytes.size() >= kBlockBytes) {
      taken = bytes.size() / kBlockBytes * kBlockBytes;
      AddBlocks(position_ / kBlockBytes, bytes.substr(0, taken));
    } else {
      taken = std::min(kBlockBytes - filled, bytes.size());
      std::memcpy(partial_.data() + filled, bytes.data(), taken);
      if (filled + taken == kBlockBytes) {
        AddBlocks(position_ / kBlockBytes, {partial_.data(), kBlockBytes});
      }
    }
    position_ += taken;
    bytes.remove_prefix(taken);
  }
  return true;
}

Hash128 ContentHash::Finish() {
  const size_t filled = position_ % kBlockBytes;
  if (filled > 0) {
    // As if a hole followed.
    std::memset(partial_.data() + filled, 0, kBlockBytes - filled);
    AddBlocks(position_ / kBlockBytes, {partial_.data(), kBlockBytes});
  }
  const Hash128 out = ToHash(XXH3_128bits_digest(state_.get()));
  XXH3_128bits_reset(state_.get());
  position_ = 0;
  next_block_ = 0;
  return out;
}

void SealBuilder::AddHash(std::string_view bytes) {
  const Hash128 hash = HashOf(bytes);
  seal_.sum.low += hash.low;
  seal_.sum.high += hash.high;
}

void SealBuilder::Add(std::string_view path, const struct stat& info, const SealedBody& body) {
  EntryFields fields{};
  const bool sized = S_ISREG(info.st_mode) || S_ISLNK(info.st_mode);
  const bool device = S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode);
  fields.size = sized ? static_cast<uint64_t>(info.st_size) : 0;
  fields.device = device ? info.st_rdev : 0;
  fields.mtime_s = info.st_mtim.tv_sec;
  fields.mtime_ns = info.st_mtim.tv_nsec;
  fields.content = body.content;
  fields.xattrs = body.xattrs;
  fields.mode = info.st_mode;
  fields.uid = info.st_uid;
  fields.gid = info.st_gid;
  buffer_.assign(reinterpret_cast<const char*>(&fields), sizeof fields);
  buffer_.append(path);
  AddHash(buffer_);
  ++seal_.entries;
  if (S_ISREG(info.st_mode)) seal_.bytes += fields.size;
}

void SealBuilder::AddSeal(const Seal& seal) {
  seal_.entries += seal.entries;
  seal_.bytes += seal.bytes;
  seal_.sum.low += seal.sum.low;
  seal_.sum.high += seal.sum.high;
}

void SealBuilder::AddOpaque(std::string_view path) {
  buffer_ = StrCat("opaque:", path);
  AddHash(buffer_);
}

}  // namespace berth::snapshotter
