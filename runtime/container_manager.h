// CreateContainer to RemoveContainer and what is known of containers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "runtime/types.h"

namespace berth::runtime {

class Core;

// Thread-safe.
class ContainerManager {
 public:
  explicit ContainerManager(Core& core);

  // A second call for the same pod, name and attempt joins the first or returns its container. On
  // failure nothing is left. FailedPrecondition if the pod is not ready; NotFound for an unknown
  // pod or image; InvalidArgument names the field.
  Result<std::string> Create(const Context& context, const std::string& pod_id,
                             const ContainerConfig& config);
  // On failure of the start itself the container is exited, with reason StartError and code 128.
  Status Start(const Context& context, const std::string& id);
  // Sends the stop signal, after `timeout_s` SIGKILL. Ok for one that is missing or has exited.
  Status Stop(const Context& context, const std::string& id, int64_t timeout_s);
  // Kills it if it runs. Ok for one that is missing.
  Status Remove(const Context& context, const std::string& id);

  Result<Container> Get(const std::string& id);
  // Calls `visit` under the container's status lock, so that nothing is copied; it must not block
  // nor call the runtime.
  void ForEach(const ContainerFilter& filter, const std::function<void(const Container&)>& visit);
  // All limits take effect or none.
  Status UpdateResources(const Context& context, const std::string& id,
                         const LinuxResources& resources);
  // FailedPrecondition unless it runs.
  Status ReopenLog(const Context& context, const std::string& id);
  // pid, cgroup path, OCI spec as JSON text, for verbose status.
  Result<std::string> Info(const std::string& id);

 private:
  Core& core_;
};

}  // namespace berth::runtime
