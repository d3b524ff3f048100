#include "tests/e2e/cri.h"

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "base/strings.h"
#include "cri/proto/api.grpc.pb.h"

namespace berth::e2e {

struct Cri::Stubs {
  std::unique_ptr<rt::RuntimeService::Stub> runtime;
  std::unique_ptr<rt::ImageService::Stub> images;
};

Cri::Cri(const std::string& socket_path) : stubs_(std::make_unique<Stubs>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  // After a restart of the daemon nothing of the last connection may be waited for.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel = grpc::CreateCustomChannel(StrCat("unix://", socket_path),
                                           grpc::InsecureChannelCredentials(), arguments);
  stubs_->runtime = rt::RuntimeService::NewStub(channel);
  stubs_->images = rt::ImageService::NewStub(channel);
}

Cri::~Cri() = default;

#define BERTH_E2E_DEFINE(service, rpc)                                                       \
  Result<rt::rpc##Response> Cri::Call(const rt::rpc##Request& request, int64_t timeout_ms) { \
    grpc::ClientContext context;                                                             \
    context.set_deadline(std::chrono::system_clock::now() +                                  \
                         std::chrono::milliseconds(timeout_ms));                             \
    rt::rpc##Response response;                                                              \
    const grpc::Status status = stubs_->service->rpc(&context, request, &response);          \
    if (status.ok()) return response;                                                        \
    return Error(static_cast<Code>(status.error_code()), status.error_message());            \
  }
BERTH_E2E_RPCS(BERTH_E2E_DEFINE)
#undef BERTH_E2E_DEFINE

}  // namespace berth::e2e
