// SELinux: what a container asks for, made into what the kernel is told, and refused where the
// kernel cannot do it (AppArmor: runtime/apparmor.h). Nothing that was asked for is left out in
// silence.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/context.h"
#include "base/result.h"
#include "runtime/types.h"

namespace berth::runtime {

// Of a Localhost profile, whose name may be spelt "localhost/NAME".
std::string WithoutLocalhost(const std::string& reference);

// "runtime/default", "unconfined", "localhost/...": the older fields' spelling of a profile.
Result<std::optional<SecurityProfile>> ParseOlderProfile(std::string_view field,
                                                         const std::string& text);

struct SelinuxLabels {
  std::string process, mount;  // empty: none
};
struct SelinuxSubject {
  std::optional<SelinuxOptions> options = {};
  bool privileged = false;
  bool sees_hosts_processes = false;  // in the host's PID or IPC namespace
  std::string pod_uid = {};           // decides the categories of a level that is left out
};
// Whether the kernel's policy knows a label; a null function on a kernel without SELinux.
using SelinuxPolicy = std::function<bool(const std::string& label)>;
SelinuxPolicy KernelsSelinuxPolicy();
// Labels for the options, what they leave out being a container's usual, with a level of the pod's
// own, so that pods are apart. Without options, on a kernel with SELinux: all of that, but none for
// what is to work with the host's processes, and none if the policy has no types for containers. A
// privileged container's process has a free one (spc_t), whatever its options.
// FailedPrecondition for options that the policy does not know, and, but for types that mean "not
// confined", for options on a kernel without SELinux. Neither is of a privileged container's.
Result<SelinuxLabels> SelinuxLabelsFor(const SelinuxSubject& subject, const SelinuxPolicy& policy);

// Gives all files of the tree at a path of the host the label, and follows no link but those on the
// way to it. A tree whose top has the label is taken to have it whole, so that a large volume is
// walked once. File systems that have no labels are left as they are. The context is asked before
// each directory. InvalidArgument for a directory or a file that the node itself lives by.
Status Relabel(const Context& context, const std::string& path, const std::string& label);

}  // namespace berth::runtime
