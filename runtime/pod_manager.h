// RunPodSandbox, StopPodSandbox, RemovePodSandbox and what is known of pods.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/context.h"
#include "base/result.h"
#include "runtime/pod_snapshot.h"
#include "runtime/types.h"

namespace berth::runtime {

class Core;  // runtime/core.h: what the managers share

// Thread-safe.
class PodManager {
 public:
  explicit PodManager(Core& core);

  // A second call for the same metadata (name, namespace, uid, attempt) joins the first, or returns
  // the pod that it made while that is ready. On failure nothing is left: no namespace, address,
  // file or record.
  Result<std::string> Run(const Context& context, const PodConfig& config,
                          const std::string& runtime_handler);
  // Stops the containers, takes the network down. Ok for a pod that does not exist or is stopped.
  Status Stop(const Context& context, const std::string& id);
  // Stops it if need be, removes its containers. Ok for a pod that does not exist.
  Status Remove(const Context& context, const std::string& id);
  // Limits of the pod as a whole; fields that are unset keep what they have. They take effect
  // where the pod has a cgroup of its own (runtime/pod_cgroup.h).
  Status UpdateResources(const Context& context, const std::string& id,
                         const std::optional<LinuxResources>& overhead,
                         const std::optional<LinuxResources>& resources);

  // `id` may be a prefix that fits one pod. NotFound.
  Result<Pod> Get(const std::string& id);
  // Whether pods can have user namespaces of their own on this machine. The first call makes one,
  // and mounts layers with its ids.
  bool SupportsUserNamespaces();
  // With its containers, all of one moment.
  Result<PodSnapshot> Snapshot(const std::string& id);
  // Calls `visit` under the pod's status lock, so that nothing is copied; it must not block nor
  // call the runtime.
  void ForEach(const PodFilter& filter, const std::function<void(const Pod&)>& visit);
  // The pod's OCI-level details as JSON text, for verbose status.
  Result<std::string> Info(const std::string& id);

 private:
  Core& core_;
  std::once_flag user_namespaces_tried_;
  bool user_namespaces_ = false;
};

}  // namespace berth::runtime
