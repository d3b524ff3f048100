// The files of a pod that its containers see: resolv.conf, hostname, hosts, and /dev/shm.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/oci_spec.h"
#include "runtime/types.h"

namespace berth::runtime {

// Where they are below the pod's directory (`<state>/pods/<id>`): decided by the configuration
// alone, so it is the same after a restart.
PodPaths PathsOfPod(const std::string& pod_dir, const PodConfig& config);

// Those that Berth has made for the pod, never the host's /dev/shm: what may be relabelled.
std::vector<std::string> OwnFiles(const std::string& pod_dir, const PodPaths& paths);

// InvalidArgument names the field: hostname, DNS entries with line breaks or control bytes...
Status CheckPodFiles(const PodConfig& config);

// Writes the files and mounts a tmpfs of 64 MiB for /dev/shm, unless the pod uses the host's IPC.
Status CreatePodFiles(const std::string& pod_dir, const PodConfig& config,
                      const std::vector<std::string>& ips);
// Unmounts what CreatePodFiles mounted. Idempotent; the files go with the directory.
Status UnmountPodFiles(const std::string& pod_dir);

// The pod's hostname: as asked for, else the host's for the host's network, else the pod's name.
std::string PodHostname(const PodConfig& config);

}  // namespace berth::runtime
