// Berth's errors as gRPC statuses.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace berth::cri {

// The same code and message, the message as valid UTF-8 and cut at 2 KiB: it travels in a header,
// and clients take no more than 8 KiB of these.
grpc::Status ToGrpc(const Status& status);

// Bytes that are not UTF-8 become U+FFFD. A protobuf string with one wrong byte makes the client
// refuse the whole answer, so every text that did not come in by protobuf goes through here.
std::string ToUtf8(std::string_view text);

// Runs what an RPC does, written with RETURN_IF_ERROR and ASSIGN_OR_RETURN.
template <typename Body>
grpc::Status Answer(Body body) {
  return ToGrpc(body());
}

}  // namespace berth::cri
