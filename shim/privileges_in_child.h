// From root with everything to what the plan allows, and then the program itself.
#pragma once

#include <string>
#include <vector>

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

// All that an execve needs, made ready; `args` and `env` point into the plan.
struct Program {
  std::vector<std::string> paths;  // tried in this order
  std::vector<char*> args, env;
};

// Also takes leave of what the program must not inherit: blocked signals and open files. Comes
// before DropPrivilegesInChild, whose seccomp filter may allow no more than the program itself
// calls.
Result<Program> PrepareProgramInChild(const wire::ProcessPlan& plan);

// Returns only on failure, with what a user needs to read: which file, and why.
Error ExecuteInChild(const wire::ProcessPlan& plan, const Program& program);

}  // namespace berth::shim
