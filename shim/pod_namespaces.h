// A helper of the daemon that makes a pod's user namespace and the namespaces that it owns: a
// process of many threads can enter no user namespace (setns(2)).
#pragma once

namespace berth::shim {

// Answers one request, wire::Type::kMakeNamespaces, on descriptor 0. Returns the exit code.
int RunPodNamespaces();

}  // namespace berth::shim
