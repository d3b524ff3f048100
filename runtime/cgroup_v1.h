// The cgroupfs driver for cgroup v1: one hierarchy for each controller, or for a few joined ones.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/cgroup.h"

namespace berth::runtime {

struct CgroupV1Hierarchy {
  std::vector<std::string> controllers;  // "cpu", "cpuacct"; "name=systemd"
  std::string path;                      // where it is mounted
  UniqueFd root;                         // a descriptor of that
};

// A container is put into every hierarchy, those that limit nothing included: tools that look for
// it there (cAdvisor, systemd) find it, and it does not count as part of the daemon.
// `unified`: cgroup v2 beside them, as on hybrid machines, or empty. Nothing is put there, but OCI
// runtimes make cgroups in it, and what they leave is removed.
std::unique_ptr<CgroupDriver> NewCgroupV1Driver(std::vector<CgroupV1Hierarchy> hierarchies,
                                                UniqueFd unified);

}  // namespace berth::runtime
