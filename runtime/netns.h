// A pod's own net, ipc, uts and user namespaces: kept alive by bind mounts on files of one
// directory, without a process.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/types.h"

namespace berth::runtime {

struct PodNamespaceOptions {
  bool net = true, ipc = true, uts = true;  // which the pod has of its own
  std::string hostname;                     // set in its own uts namespace; empty: the host's
  StringMap sysctls;                        // CheckSysctls
};

// A user namespace and those of the pod's that it owns, made already (shim/pod_namespaces.h). Its
// id 0 is `uid` of the host.
struct OwnedNamespaces {
  UniqueFd user, net, ipc, uts;
  uint32_t uid = 0;
};

// Absolute paths of the files; empty for what is the host's.
struct PodNamespaces {
  std::string net, ipc, uts, user;
};

// Only what belongs to a namespace of the pod's own: net.* with net, kernel.{shm,msg,sem}* and
// fs.mqueue.* with ipc. Names with '.' or '/' as sysctl(8) takes them; values are plain words and
// numbers. InvalidArgument names the sysctl.
Status CheckSysctls(const PodNamespaceOptions& options);

// Makes `path` a mount point of its own that shares no mounts with other mount namespaces, unless
// it is one, so that no namespace is kept alive by somebody's copy. Once, at start, for the
// directory that all the pods' directories are in.
Status EnsurePrivateMount(const std::string& path);
// Takes that back; ok if it is not there.
Status RemovePrivateMount(const std::string& path);

// Makes `dir` (parents exist) with the files "net", "ipc", "uts", and "user" if `owned` is given:
// then its namespaces are taken, and none made. In a new net namespace `lo` is
// up, and unless a sysctl says otherwise every port is unprivileged and every group may ping, as
// with containerd 2. On failure nothing is left. Runs in a short-lived thread; the caller's
// namespaces stay as they are.
Result<PodNamespaces> CreatePodNamespaces(const std::string& dir,
                                          const PodNamespaceOptions& options,
                                          const OwnedNamespaces* owned = nullptr);

// Keeps one more namespace ("/proc/PID/ns/pid") alive by a bind mount on the new file `path`, in a
// directory that CreatePodNamespaces has made.
Status PinNamespace(const std::string& source, const std::string& path);
// True if a namespace is mounted on the file: false after a reboot, or if it is not there.
bool IsPinnedNamespace(const std::string& path);

// Unmounts and removes everything in `dir`, half made or not, and `dir`. Ok if it does not exist.
Status RemovePodNamespaces(const std::string& dir);

}  // namespace berth::runtime
