// A CRI v1 client over a unix socket: the calls that the benchmark times, sent as kubelet sends
// them. Thread-safe. Every call blocks until the answer or a deadline of two minutes (a pull: ten).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace berth::bench {

// Of every container, below the pod's log directory.
inline constexpr const char* kLogName = "main.log";

struct PodSpec {
  std::string name;  // also the uid: one name, one pod
  bool host_network = false;
  std::string cgroup_parent;
  std::string log_directory;
};

class CriClient {
 public:
  // Asks for the version, so a socket without a CRI server behind it fails here.
  static Result<std::unique_ptr<CriClient>> Connect(const std::string& socket_path);
  ~CriClient();
  CriClient(const CriClient&) = delete;
  CriClient& operator=(const CriClient&) = delete;

  // Name and version of the runtime.
  const std::string& version() const { return version_; }
  // FailedPrecondition with the runtime's reason unless runtime and network are ready.
  Status CheckReady();

  Result<std::string> RunPodSandbox(const PodSpec& pod);
  // A container that runs /pause of `image`, with the limits of a small burstable pod.
  Result<std::string> CreateContainer(const PodSpec& pod, const std::string& pod_id,
                                      const std::string& image);
  Status StartContainer(const std::string& id);
  Status StopContainer(const std::string& id);
  Status RemoveContainer(const std::string& id);
  Status StopPodSandbox(const std::string& id);
  Status RemovePodSandbox(const std::string& id);
  // Internal unless the command exits 0.
  Status ExecSync(const std::string& id, const std::vector<std::string>& command);

  // How many the runtime lists, of all owners.
  Result<int> ListPodSandbox();
  Result<int> ListContainers();
  Result<int> ListContainerStats();
  Result<int> ListPodSandboxStats();
  Result<int> ListPodSandboxMetrics();

  Result<std::string> PullImage(const std::string& image);
  Status RemoveImage(const std::string& image);

  // Stops and removes every pod that a benchmark has made, of this run or an earlier one.
  Status RemoveBenchPods();

 private:
  struct Stubs;
  explicit CriClient(std::unique_ptr<Stubs> stubs);

  std::unique_ptr<Stubs> stubs_;
  std::string version_;
};

}  // namespace berth::bench
