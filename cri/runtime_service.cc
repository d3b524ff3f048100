#include "cri/runtime_service.h"

#include <chrono>

namespace berth::cri {

RuntimeService::RuntimeService(RuntimeServiceOptions options, runtime::Runtime& runtime,
                               image::ImageStore& images, stream::Server& streams)
    : options_(std::move(options)), runtime_(runtime), images_(images), streams_(streams) {}

Context RuntimeService::Bounded(const grpc::ServerContext& call) const {
  auto deadline = call.deadline();
  // What a call without a deadline has.
  if (deadline == std::chrono::system_clock::time_point::max()) return Lasting();
  auto left = deadline - std::chrono::system_clock::now();
  return Lasting().Timeout(std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
}

}  // namespace berth::cri
