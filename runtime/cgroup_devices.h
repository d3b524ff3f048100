// Which devices a cgroup may use: the rules of runtime-spec reduced to what both cgroup versions
// can say, and the BPF program that says it on v2.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"
#include "runtime/cgroup.h"

namespace berth::runtime {

// Everything is allowed, or nothing, but for the exceptions. They have the other value in `allow`,
// type 'b' or 'c', and each (type, major, minor) once.
struct DevicePolicy {
  bool default_allow = false;
  std::vector<DeviceRule> exceptions;
};

// Applies the rules in order, as writing them to v1's devices.allow and devices.deny would.
// InvalidArgument for a malformed rule, and for one that would cut a hole into an earlier wildcard:
// v1 cannot express that, and would leave the device allowed.
Result<DevicePolicy> MakeDevicePolicy(const std::vector<DeviceRule>& rules);

// "c 1:3 rwm", with '*' for all.
std::string V1DeviceLine(const DeviceRule& rule);

// A BPF_PROG_TYPE_CGROUP_DEVICE program: returns 1 for what is allowed, 0 for the rest.
std::vector<bpf_insn> AssembleDeviceProgram(const DevicePolicy& policy);

// Loads programs, each distinct one once, and attaches them. Thread-safe.
class DevicePrograms {
 public:
  // Afterwards the policy is the only one attached to the cgroup v2 directory itself (those of its
  // parents hold as well). `fresh`: nothing can be attached there yet.
  Status Attach(int directory, const DevicePolicy& policy, bool fresh);

 private:
  struct Loaded {
    std::string code;
    UniqueFd program;
  };
  // A copy of the descriptor, so that the cache may drop its own meanwhile.
  Result<UniqueFd> Load(const DevicePolicy& policy);

  Mutex mutex_;
  std::vector<Loaded> loaded_ GUARDED_BY(mutex_);  // the latest at the end
};

}  // namespace berth::runtime
