// How many files and sockets processes have open.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace berth::runtime {

struct OpenFiles {
  uint64_t descriptors = 0, sockets = 0;
};

// Of all these processes together; those that have ended count nothing. Nothing if there is more to
// look through than a question for statistics may cost: 256 processes or 4096 descriptors.
std::optional<OpenFiles> CountOpenFiles(const std::vector<pid_t>& processes);

}  // namespace berth::runtime
