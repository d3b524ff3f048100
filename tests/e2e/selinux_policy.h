// A policy of SELinux for tests on a kernel that has it, but none loaded.
#pragma once

#include "base/result.h"

namespace berth::e2e {

// Empty if a policy with containers' types holds: that of the machine, or, where it has none, one
// that this loads for as long as the kernel runs. Otherwise why there is none.
//
// The types of ours are those of container-selinux: container_t may use files of container_file_t
// whose categories it has, and others but those of secret_t; spc_t, and all that has run before
// (kernel_t), may do anything.
Result<std::string> WhyNoSelinuxPolicy();

}  // namespace berth::e2e
