// From root with everything to what the plan allows, and then the program itself.
#pragma once

#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// Limits, ids, capabilities, no_new_privs, seccomp: in the one order in which each step is still
// allowed. The working directory is entered before, with root's rights, and checked to be inside.
Status DropPrivilegesInChild(const wire::ProcessPlan& plan);

// The limits alone, for who will not have the right to raise them when DropPrivilegesInChild sets
// them again.
Status SetLimitsInChild(const wire::ProcessPlan& plan);

// Changes into the plan's directory; an error if it is not one or lies outside of the root
// (CVE-2024-21626).
Status EnterWorkingDirectoryInChild(const wire::ProcessPlan& plan);

// Returns only on failure, with what a user needs to read: which file, and why.
Error ExecuteInChild(const wire::ProcessPlan& plan);

}  // namespace berth::shim
