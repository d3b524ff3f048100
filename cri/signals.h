// Signals by CRI's names and by Linux' numbers (x86-64 and arm64 have the same).
#pragma once

#include <string_view>

#include "base/result.h"
#include "cri/pb.h"

namespace berth::cri {

// 0 for SIGNAL_RUNTIME_DEFAULT. InvalidArgument, naming the field, for a value CRI does not know.
Result<int> SignalNumber(pb::Signal signal, std::string_view field);
// SIGNAL_RUNTIME_DEFAULT for a number that has no name in CRI.
pb::Signal SignalOfNumber(int number);

}  // namespace berth::cri
