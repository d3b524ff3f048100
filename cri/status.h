// Berth's errors as gRPC statuses.
#pragma once

#include <grpcpp/support/status.h>

#include "base/result.h"

namespace berth::cri {

// The same code and message, the message as valid UTF-8 and cut at 2 KiB: it travels in a header,
// and clients take no more than 8 KiB of these.
grpc::Status ToGrpc(const Status& status);

// Runs what an RPC does, written with RETURN_IF_ERROR and ASSIGN_OR_RETURN.
template <typename Body>
grpc::Status Answer(Body body) {
  return ToGrpc(body());
}

}  // namespace berth::cri
