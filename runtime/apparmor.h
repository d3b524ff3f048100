// AppArmor: the profile that a container runs under, and the daemon's own default one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/context.h"
#include "base/result.h"
#include "runtime/types.h"

namespace berth::runtime {

// The profile of containers that ask for the runtime's default one (config/apparmor/berth-default),
// and its text.
inline constexpr char kDefaultAppArmorProfile[] = "berth-default";
std::string_view DefaultAppArmorText();

bool KernelHasAppArmor();

// The profile to run under; empty: none. On a kernel without AppArmor the default is none. Without
// a wish it is the default if that is known to be loaded. FailedPrecondition names a profile that
// cannot be had. A privileged container has no default.
Result<std::string> AppArmorProfileFor(const std::optional<SecurityProfile>& wanted,
                                       bool privileged);

// Loads the default profile with apparmor_parser(8), unless the kernel has no AppArmor or has the
// profile: what an administrator has loaded stands. FailedPrecondition says what is missing.
Status LoadDefaultAppArmorProfile(const Context& context);

}  // namespace berth::runtime
