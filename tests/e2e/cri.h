// A CRI client for the tests: one Call() per RPC, the answer or the error that came back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cri/proto/api.pb.h"

namespace berth::e2e {

namespace rt = ::runtime::v1;

// Service, RPC: those that the tests make.
#define BERTH_E2E_RPCS(X)               \
  X(runtime, Version)                   \
  X(runtime, Status)                    \
  X(runtime, RuntimeConfig)             \
  X(runtime, UpdateRuntimeConfig)       \
  X(runtime, UpdatePodSandboxResources) \
  X(runtime, RunPodSandbox)             \
  X(runtime, StopPodSandbox)            \
  X(runtime, RemovePodSandbox)          \
  X(runtime, PodSandboxStatus)          \
  X(runtime, ListPodSandbox)            \
  X(runtime, CreateContainer)           \
  X(runtime, StartContainer)            \
  X(runtime, StopContainer)             \
  X(runtime, RemoveContainer)           \
  X(runtime, ListContainers)            \
  X(runtime, ContainerStatus)           \
  X(runtime, UpdateContainerResources)  \
  X(runtime, ReopenContainerLog)        \
  X(runtime, ExecSync)                  \
  X(runtime, Exec)                      \
  X(runtime, Attach)                    \
  X(runtime, PortForward)               \
  X(runtime, ContainerStats)            \
  X(runtime, ListContainerStats)        \
  X(runtime, PodSandboxStats)           \
  X(runtime, ListPodSandboxStats)       \
  X(runtime, ListMetricDescriptors)     \
  X(runtime, ListPodSandboxMetrics)     \
  X(runtime, CheckpointContainer)       \
  X(images, ListImages)                 \
  X(images, ImageStatus)                \
  X(images, PullImage)                  \
  X(images, RemoveImage)                \
  X(images, ImageFsInfo)

// Those that answer with a stream of messages.
#define BERTH_E2E_STREAMS(X)          \
  X(runtime, StreamPodSandboxes)      \
  X(runtime, StreamContainers)        \
  X(runtime, StreamContainerStats)    \
  X(runtime, StreamPodSandboxStats)   \
  X(runtime, StreamPodSandboxMetrics) \
  X(images, StreamImages)

// A subscription to events; the destructor gives it up. It ends with its deadline of two minutes.
class EventStream {
 public:
  struct Call;
  explicit EventStream(std::unique_ptr<Call> call);
  ~EventStream();
  // Waits for the next event; the error is how the stream ended.
  Result<rt::ContainerEventResponse> Next();

 private:
  std::unique_ptr<Call> call_;
};

// Thread-safe. A call waits a minute at most, unless told otherwise.
class Cri {
 public:
  explicit Cri(const std::string& socket_path);
  ~Cri();

#define BERTH_E2E_DECLARE(service, rpc) \
  Result<rt::rpc##Response> Call(const rt::rpc##Request& request, int64_t timeout_ms = 60'000);
  BERTH_E2E_RPCS(BERTH_E2E_DECLARE)
#undef BERTH_E2E_DECLARE

// All messages, to the end of the stream.
#define BERTH_E2E_DECLARE(service, rpc) \
  Result<std::vector<rt::rpc##Response>> Call(const rt::rpc##Request& request);
  BERTH_E2E_STREAMS(BERTH_E2E_DECLARE)
#undef BERTH_E2E_DECLARE

  // Sends these bytes as the request of "runtime.v1.RuntimeService/Version" or its like. Ok as soon
  // as there is an answer: streams are not read to their end.
  Status CallRaw(const std::string& method, const std::string& request);

  // Returns once the daemon has taken the subscription.
  std::unique_ptr<EventStream> Events();

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace berth::e2e
