// AppArmor and SELinux: what a container asks for, made into what the kernel is told, and refused
// where the kernel cannot do it. Nothing that was asked for is left out in silence.
#pragma once

#include <optional>
#include <string>

#include "base/context.h"
#include "base/result.h"
#include "runtime/types.h"

namespace berth::runtime {

// The profile of containers that ask for the runtime's default one (config/apparmor/berth-default).
inline constexpr char kDefaultAppArmorProfile[] = "berth-default";

// "runtime/default", "unconfined", "localhost/...": the older fields' spelling of a profile.
Result<std::optional<SecurityProfile>> ParseOlderProfile(std::string_view field,
                                                         const std::string& text);

// The profile to run under; empty: none. On a kernel without AppArmor the default is none. Without
// a wish it is the default if that is loaded. FailedPrecondition names a profile that cannot be
// had. A privileged container has no default.
Result<std::string> AppArmorProfileFor(const std::optional<SecurityProfile>& wanted,
                                       bool privileged);

struct SelinuxLabels {
  std::string process, mount;  // empty: none
};
// Labels for the options, what they leave out being a container's usual; `pod_uid` decides the
// categories of a level that they leave out, so that pods are apart. Empty without options and for
// a privileged container. FailedPrecondition on a kernel without SELinux, but for types that mean
// "not confined".
Result<SelinuxLabels> SelinuxLabelsFor(const std::optional<SelinuxOptions>& options,
                                       bool privileged, const std::string& pod_uid);

// Gives all files of the tree at a path of the host the label, and follows no link but those on the
// way to it. A tree whose top has the label is taken to have it whole, so that a large volume is
// walked once. File systems that have no labels are left as they are. The context is asked before
// each directory. InvalidArgument for a directory or a file that the node itself lives by.
Status Relabel(const Context& context, const std::string& path, const std::string& label);

}  // namespace berth::runtime
