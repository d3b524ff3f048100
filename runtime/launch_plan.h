// From the OCI spec to what the shim carries out: names become numbers, options become flags,
// "cgroup" becomes the mounts that fit this host.
#pragma once

#include "base/result.h"
#include "runtime/cgroup.h"
#include "runtime/oci_spec.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

struct LaunchInputs {
  const OciSpec& spec;
  const CgroupJoin& cgroup;
  const std::string& seccomp_filter;  // empty: none
  shim::wire::LogPlan log;
  bool keep_stdin_open = false;
};

// InvalidArgument names the mount or the option that is not understood.
Result<shim::wire::LaunchPlan> MakeLaunchPlan(const LaunchInputs& inputs);

}  // namespace berth::runtime
