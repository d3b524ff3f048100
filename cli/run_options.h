// What `berth run` was asked for, and the CRI messages that say it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cri/proto/api.pb.h"

namespace berth::cli {

namespace rt = ::runtime::v1;

// Pods and containers of `berth run` carry this label; its value is the pod's uid. `berth rm`
// removes the pod of a container that has it.
inline constexpr char kRunLabel[] = "berth.run";

struct RunOptions {
  std::string image;
  std::vector<std::string> command;
  std::string name;
  std::vector<std::string> ports, volumes, envs;
  std::string memory, cpus, user, workdir;
  std::string runtime;  // a runtime handler; empty: the built-in one
  bool read_only = false, host_network = false, privileged = false;
};

// Parsers of the options' values. Errors are InvalidArgument and quote the value.
Result<rt::PortMapping> ParsePort(std::string_view text);  // [IP:]HOST:CONTAINER[/tcp|udp|sctp]
Result<rt::Mount> ParseVolume(std::string_view text);      // HOST:CONTAINER[:ro|rw]
// KEY=VALUE, or KEY alone for the value in this process's environment.
Result<rt::KeyValue> ParseEnv(std::string_view text);
Result<int64_t> ParseMemory(std::string_view text);  // bytes, or with b, k, m, g (powers of 1024)
Result<int64_t> ParseCpuQuotaUs(std::string_view text);  // CPUs ("1.5") as µs per 100 ms
// USER[:GROUP]: a number each, or a user's name alone.
Status ParseUser(std::string_view text, rt::LinuxContainerSecurityContext& security);

// The last component of an image reference, without tag and digest: what a container is called by
// default, with a few random digits.
std::string DefaultName(std::string_view image);

Result<rt::PodSandboxConfig> MakePodConfig(const RunOptions& options, const std::string& uid,
                                           const std::string& log_directory);
Result<rt::ContainerConfig> MakeContainerConfig(const RunOptions& options,
                                                const std::string& image_id,
                                                const std::string& uid);

// Where `berth run` has the logs of its containers written: /var/log/berth for the default socket,
// else "logs" beside the socket.
std::string LogRoot(const std::string& socket_path);

}  // namespace berth::cli
