// ExecSync: a command in a running container, started by the container's shim.
#pragma once

#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"

namespace berth::runtime {

class Core;

struct ExecResult {
  std::string out, err;  // at most kMaxExecOutputBytes each, the rest is dropped
  int32_t exit_code = 0;
};

inline constexpr size_t kMaxExecOutputBytes = 16 << 20;

class ExecManager {
 public:
  explicit ExecManager(Core& core);
  // timeout_s 0: none. At the timeout (DeadlineExceeded) the process and its children are killed.
  Result<ExecResult> ExecSync(const Context& context, const std::string& container_id,
                              const std::vector<std::string>& command, int64_t timeout_s);

 private:
  Core& core_;
};

}  // namespace berth::runtime
