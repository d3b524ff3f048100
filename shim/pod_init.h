// The first process of a PID namespace that the containers of a pod share: reaps what is orphaned,
// ends when it is killed. It sees an empty root and has no privileges.
#pragma once

namespace berth::shim {

// Makes a new PID namespace and its first process; writes that process's pid (host's numbering) and
// a newline to descriptor 1. Returns the exit code of the helper that did so.
// With `in_user_namespace` both belong to the user namespace that is descriptor 3.
int RunPodInit(bool in_user_namespace);

}  // namespace berth::shim
