// What processes and the machine use, read from /proc and the cgroup file systems.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace berth::bench {

// The last argument of every container that the benchmark runs: tells a pod's own process from the
// processes that the runtime keeps for it.
inline constexpr std::string_view kWorkloadMark = "berth-bench-workload";

// CPU time of the whole machine that was neither idle nor waiting for a disk.
Result<int64_t> MachineBusyNs();
// CPU time of a cgroup and everything below it; `cgroup` is a path from the root of the hierarchy.
// Works with the cpuacct controller of cgroup v1 and with v2.
Result<int64_t> CgroupCpuNs(const std::string& cgroup);
// CPU time of a process, of all its threads.
Result<int64_t> ProcessCpuNs(pid_t pid);
// The load average of the last minute.
Result<double> LoadAverage();

// Proportional set size: private memory plus this process's share of what it shares.
Result<int64_t> PssBytes(pid_t pid);
// Every user-space process that this one can see.
Result<std::set<pid_t>> Processes();
// Those of Processes() that are not in `before` and are not a pod's own process.
Result<std::set<pid_t>> HelpersSince(const std::set<pid_t>& before);
// Their PSS together; a process that has ended counts nothing.
Result<int64_t> PssBytes(const std::set<pid_t>& processes);

// The process that listens on a unix stream socket.
Result<pid_t> ListenerPid(const std::string& socket_path);

// The texts behind the above, apart so that tests can give their own.
Result<int64_t> ParsePss(std::string_view smaps_rollup);
Result<int64_t> ParseBusyTicks(std::string_view proc_stat);

}  // namespace berth::bench
