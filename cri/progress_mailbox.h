// A call that moves layers and tells its client how far it is. The threads that move them must not
// block, and the client may be slow: only the newest progress waits for it.
#pragma once

#include <functional>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "cri/proto/berth.pb.h"
#include "image/progress.h"

namespace grpc {
class ServerContext;
}  // namespace grpc

namespace berth::cri {

using Transfer = std::function<Status(const Context& context, image::ProgressCallback progress)>;
// Writes to the client; false if it has gone.
using ProgressWriter = std::function<bool(const std::vector<image::LayerProgress>& layers)>;

// Runs the transfer in a thread of its own and `write`, as often as there are news, in this one,
// the last of them after the end. The transfer's context ends with the client or with `lifetime`.
Status RunTransfer(grpc::ServerContext& call, const Context& lifetime, const Transfer& transfer,
                   const ProgressWriter& write);

void ToPb(const image::LayerProgress& layer, ::berth::v1::LayerProgress* out);

}  // namespace berth::cri
