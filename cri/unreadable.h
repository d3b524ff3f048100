// Why a request could not be read.
#pragma once

#include <string>

namespace berth::cri {

// proto3's strings are UTF-8, and a message with another byte in one cannot be read at all: gRPC
// answers INTERNAL and says nothing, protobuf writes the field's name to stderr. From now on what
// it writes is kept for TakeUnreadableReason() instead, one line for each thread. For the process.
void KeepUnreadableReasons();

// What is known of the request that this thread has failed to read, for its sender.
std::string TakeUnreadableReason();

}  // namespace berth::cri
