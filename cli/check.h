// What `berth check` looks at: whether this machine can be a node. Each probe tries the thing
// itself where it can, since a version says little of what a distribution has built in or a policy
// forbids.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/config.h"

namespace berth::cli {

enum class Level { kOk, kWarning, kProblem };

struct Finding {
  std::string what;  // "overlayfs"
  Level level = Level::kOk;
  std::string found;   // what there is
  std::string advice;  // what to do about it; empty if all is well
};
using Findings = std::vector<Finding>;

// Runs in a child process, in namespaces of its own if it makes some, and returns 0 or an errno.
// The answer is that number; EIO if the child was killed.
int Try(const std::function<int()>& probe);

// Each appends what it has found. They leave nothing behind.
void CheckKernel(Findings& findings);                                 // check_kernel.cc
void CheckCgroups(const config::Config& config, Findings& findings);  // check_cgroups.cc
void CheckStorage(const config::Config& config, Findings& findings);  // check_storage.cc
void CheckNetwork(const config::Config& config, Findings& findings);  // check_network.cc

// One line for each, with the advice below it, and a last line that counts.
std::string FindingsText(const Findings& findings);
Json FindingsJson(const Findings& findings);
bool HasProblem(const Findings& findings);

}  // namespace berth::cli
