// The first process of a PID namespace that the containers of a pod share: reaps what is orphaned,
// ends when it is killed. It sees an empty root and has no privileges.
#pragma once

#include <string>

namespace berth::shim {

struct PodInitOptions {
  bool in_user_namespace = false;  // the one that is descriptor 3
  // SELinux's, as the pod's containers have them; empty: none. Where the policy does not let the
  // process have its label, it stays in the shim's domain: all that it loses is that containers can
  // look at it.
  std::string process_label, mount_label;
};

// "in-user-namespace" and "labels PROCESS MOUNT", either or both, in this order.
PodInitOptions ParsePodInit(int count, const char* const* arguments);

// Makes a new PID namespace and its first process; writes that process's pid (host's numbering) and
// a newline to descriptor 1. Returns the exit code of the helper that did so.
int RunPodInit(const PodInitOptions& options);

}  // namespace berth::shim
