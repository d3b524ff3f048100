// One execution of a CNI plugin, and what it says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/json.h"
#include "base/result.h"

namespace berth::runtime {

// The pod's only interface.
inline constexpr const char* kCniInterface = "eth0";

struct CniCall {
  std::string command;  // "ADD", "DEL", "CHECK"
  std::string pod_id, netns, args;
  const std::vector<std::string>& bin_dirs;
  int64_t timeout_ms = 0;
};

// Executes the plugin that `config` is for, with `config` on its stdin and CNI's environment and
// PATH as the only variables; returns its stdout. A plugin that takes longer than the time is
// killed with its children. The error names plugin, command, exit code and what the plugin said:
// FailedPrecondition if there is no such program, DeadlineExceeded, Unavailable where the plugin
// says to try again, else Internal.
Result<std::string> RunCniPlugin(const Context& context, const CniCall& call, const Json& config);

// The addresses of kCniInterface without prefix length, in the result's order, then those that name
// no interface. Results of 0.3.0 to 1.1.0. Internal if there is none or one is malformed.
Result<std::vector<std::string>> CniResultIps(const Json& result);

}  // namespace berth::runtime
