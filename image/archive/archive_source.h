// Where the members of an archive of images are read from: a file or a directory, or a client that
// has one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"

namespace berth::image {

// More members are refused, wherever they come from.
inline constexpr size_t kMaxArchiveMembers = 100'000;
inline constexpr size_t kMaxMemberNameBytes = 1024;

struct ArchiveMember {
  std::string name;  // relative, without "." and ".."
  uint64_t size_bytes = 0;
};

// Thread-safe.
class ArchiveSource {
 public:
  virtual ~ArchiveSource() = default;
  virtual const std::vector<ArchiveMember>& members() const = 0;
  // Exactly `size` bytes of a member, from `offset` on. DataLoss if there are fewer.
  virtual Result<std::string> Read(const Context& context, size_t member, uint64_t offset,
                                   size_t size) = 0;
};

}  // namespace berth::image
