// The cgroupfs driver for cgroup v2: one hierarchy for all controllers.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "runtime/cgroup.h"

namespace berth::runtime {

// `mount_root` is where the hierarchy is mounted.
Result<std::unique_ptr<CgroupDriver>> NewCgroupV2Driver(const std::string& mount_root);

}  // namespace berth::runtime
