#include "tests/e2e/cri.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>

#include "base/strings.h"
#include "cri/proto/api.grpc.pb.h"

namespace berth::e2e {

struct Cri::Stubs {
  std::unique_ptr<rt::RuntimeService::Stub> runtime;
  std::unique_ptr<rt::ImageService::Stub> images;
  std::unique_ptr<grpc::GenericStub> raw;
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
  stubs_->raw = std::make_unique<grpc::GenericStub>(channel);
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

#define BERTH_E2E_DEFINE(service, rpc)                                                \
  Result<std::vector<rt::rpc##Response>> Cri::Call(const rt::rpc##Request& request) { \
    grpc::ClientContext context;                                                      \
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1)); \
    auto reader = stubs_->service->rpc(&context, request);                            \
    std::vector<rt::rpc##Response> all;                                               \
    rt::rpc##Response one;                                                            \
    while (reader->Read(&one)) all.push_back(one);                                    \
    const grpc::Status status = reader->Finish();                                     \
    if (status.ok()) return all;                                                      \
    return Error(static_cast<Code>(status.error_code()), status.error_message());     \
  }
BERTH_E2E_STREAMS(BERTH_E2E_DEFINE)
#undef BERTH_E2E_DEFINE

Status Cri::CallRaw(const std::string& method, const std::string& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  grpc::CompletionQueue queue;
  auto wait = [&queue] {
    void* tag = nullptr;
    bool done = false;
    return queue.Next(&tag, &done) && done;
  };
  auto call = stubs_->raw->PrepareCall(&context, "/" + method, &queue);
  call->StartCall(nullptr);
  bool alive = wait();
  const grpc::Slice slice(request);
  if (alive) {
    call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
    wait();
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    alive = wait();
  }
  if (alive) context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  wait();
  if (alive || status.ok()) return Ok();
  return Error(static_cast<Code>(status.error_code()), status.error_message());
}

struct EventStream::Call {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<rt::ContainerEventResponse>> reader;
};

EventStream::EventStream(std::unique_ptr<Call> call) : call_(std::move(call)) {}

EventStream::~EventStream() {
  if (call_->reader == nullptr) return;  // it has ended
  call_->context.TryCancel();
  rt::ContainerEventResponse event;
  while (call_->reader->Read(&event)) {
  }
  (void)call_->reader->Finish();
}

Result<rt::ContainerEventResponse> EventStream::Next() {
  rt::ContainerEventResponse event;
  if (call_->reader->Read(&event)) return event;
  const grpc::Status status = call_->reader->Finish();
  call_->reader = nullptr;
  return Error(static_cast<Code>(status.error_code()), status.error_message());
}

std::unique_ptr<EventStream> Cri::Events() {
  auto call = std::make_unique<EventStream::Call>();
  call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
  call->reader = stubs_->runtime->GetContainerEvents(&call->context, rt::GetEventsRequest());
  call->reader->WaitForInitialMetadata();
  return std::make_unique<EventStream>(std::move(call));
}

}  // namespace berth::e2e
