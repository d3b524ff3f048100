// The members of a tar, found without reading their content: what an archive of images needs, and
// no more. Strict: what it does not know is refused.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace berth::image {

struct TarRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Regular files by their names, of ustar, pax and GNU archives; links are followed, within the
// archive only. Of two members with one name the later counts. `fd` can be read at any offset.
//
// DataLoss, naming the member and the offset: not a tar, truncated, a name that leads out, sparse
// files, more than kMaxArchiveMembers.
Result<std::map<std::string, TarRange>> IndexTar(int fd);

}  // namespace berth::image
