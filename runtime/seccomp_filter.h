// From a seccomp profile to the kernel's filter program.
#pragma once

#include "base/result.h"
#include "runtime/capabilities.h"
#include "runtime/seccomp_json.h"
#include "runtime/seccomp_profile.h"

namespace berth::runtime {

// Whether the rule holds on this machine for a container with these capabilities: all of "includes"
// and none of "excludes".
bool Applies(const SeccompRule& rule, CapabilitySet capabilities);

// The filter for a container with these capabilities in its bounding set. Takes some milliseconds.
//
// Beyond what the profile says, a profile that answers with an errno by default answers ENOSYS to
// system calls that are newer than all it mentions: C libraries then try an older one, while EPERM
// would make them give up.
Result<SeccompFilter> CompileSeccomp(const SeccompDocument& document, CapabilitySet capabilities);

}  // namespace berth::runtime
