// A seccomp profile as text (Docker's format, of which the OCI runtime-spec's is a part) and as
// data.
#pragma once

#include <seccomp.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/capabilities.h"

namespace berth::runtime {

// "includes" and "excludes" of a rule.
struct SeccompConditions {
  CapabilitySet capabilities = 0;
  std::vector<std::string> arches;  // Go's names, "amd64"; empty: any
  // The oldest kernel, major * 1000 + minor; 0 if the rule names none.
  int min_kernel = 0;
};
struct SeccompRule {
  std::vector<std::string> names;
  uint32_t action = 0;             // SCMP_ACT_*, with its errno
  std::vector<scmp_arg_cmp> args;  // several for one argument are alternatives, else all must hold
  SeccompConditions includes, excludes;
};
struct SeccompDocument {
  uint32_t default_action = 0;
  std::vector<uint32_t> arches;  // SCMP_ARCH_*, this machine's among them
  std::vector<SeccompRule> rules;
  CapabilitySet capabilities = 0;  // those that any rule refers to
};

inline constexpr size_t kMaxSeccompJsonBytes = 1 << 20;

// InvalidArgument says which member of the text is wrong; Unimplemented for the flags and actions
// that need more than a filter.
Result<SeccompDocument> ParseSeccompJson(std::string_view text);

// The same as runtime-spec's "linux.seccomp" text (config-linux.md), which has no conditions: only
// the rules for which `applies` are in it, and of these the system calls that libseccomp knows.
std::string SeccompOciJson(const SeccompDocument& document,
                           const std::function<bool(const SeccompRule&)>& applies);

}  // namespace berth::runtime
