// What a client reads on the error stream when a command is over.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace berth::cri::stream {

// `ending` is the exit code or why there is none. From protocol version 4 on a metav1.Status in
// JSON; before that a text, which is empty for success.
std::string CommandStatus(const Result<int32_t>& ending, int version);

}  // namespace berth::cri::stream
