// The launch of a container whose pod has a user namespace of its own. No one process can do all of
// it: mounts that the container must not undo need the host's root; the container's process is the
// user namespace's root, and the first of a PID namespace that the user namespace owns; and /proc
// is mounted from within that PID namespace.
//
//   shim                    entrant                    init                     builder
//    clone3 -------------->  cgroups, limits; joins
//                            the pod's namespaces,
//                            at last that of users
//    <--- Birth ------------ clone3 of a sibling ---->  waits
//    reaps
//    clone3 in init's PID namespace ------------------------------------------>  enters init's
//    other
//                                                                                namespaces, mounts
//                                                                                all and pivots
//    reaps <------------------------------------------------------- Failure, or end of file
//    "go" ------------------------------------------->  copies the mount namespace
//    <------------------------------------------------  terminal, Failure, end of file: as in
//    launch.h
//
// The copy belongs to the user namespace, and the kernel locks what it copies into a less
// privileged namespace: even with every capability the container can neither unmount what covers
// something nor make writable what is read-only (mount_namespaces(7)).
#pragma once

#include "base/result.h"
#include "shim/launch.h"

namespace berth::shim {

// On failure all of them have been killed.
Result<Process> LaunchInitInUserNamespace(const Context& context, const InitInputs& inputs);

}  // namespace berth::shim
