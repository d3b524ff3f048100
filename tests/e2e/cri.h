// A CRI client for the tests: one Call() per RPC, the answer or the error that came back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "cri/proto/api.pb.h"

namespace berth::e2e {

namespace rt = ::runtime::v1;

// Service, RPC: those that the tests make.
#define BERTH_E2E_RPCS(X)              \
  X(runtime, Version)                  \
  X(runtime, Status)                   \
  X(runtime, RuntimeConfig)            \
  X(runtime, RunPodSandbox)            \
  X(runtime, StopPodSandbox)           \
  X(runtime, RemovePodSandbox)         \
  X(runtime, PodSandboxStatus)         \
  X(runtime, ListPodSandbox)           \
  X(runtime, CreateContainer)          \
  X(runtime, StartContainer)           \
  X(runtime, StopContainer)            \
  X(runtime, RemoveContainer)          \
  X(runtime, ListContainers)           \
  X(runtime, ContainerStatus)          \
  X(runtime, UpdateContainerResources) \
  X(runtime, ReopenContainerLog)       \
  X(runtime, ExecSync)                 \
  X(runtime, Exec)                     \
  X(runtime, Attach)                   \
  X(runtime, PortForward)              \
  X(runtime, ContainerStats)           \
  X(runtime, ListContainerStats)       \
  X(runtime, CheckpointContainer)      \
  X(images, ListImages)                \
  X(images, ImageStatus)               \
  X(images, PullImage)                 \
  X(images, RemoveImage)               \
  X(images, ImageFsInfo)

// Thread-safe. A call waits a minute at most, unless told otherwise.
class Cri {
 public:
  explicit Cri(const std::string& socket_path);
  ~Cri();

#define BERTH_E2E_DECLARE(service, rpc) \
  Result<rt::rpc##Response> Call(const rt::rpc##Request& request, int64_t timeout_ms = 60'000);
  BERTH_E2E_RPCS(BERTH_E2E_DECLARE)
#undef BERTH_E2E_DECLARE

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace berth::e2e
