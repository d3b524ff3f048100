// oom_score_adj of all processes of a cgroup.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"
#include "runtime/cgroup.h"

namespace berth::runtime {

// What the processes had before, by their ids.
using OomScores = std::map<int32_t, int64_t>;

// Those of the cgroup's processes that do not have `score`.
Result<OomScores> OtherOomScores(const CgroupDriver& cgroups, const std::string& cgroup_path,
                                 int64_t score);

// Gives every process of the cgroup the score, also those that are forked meanwhile: it looks again
// until it finds none with another score. FailedPrecondition if they multiply without an end.
// `former` is filled in also on failure, for RestoreOomScores.
Status SetOomScores(const CgroupDriver& cgroups, const std::string& cgroup_path, int64_t score,
                    OomScores& former);

// Gives each process back what it had, and those that are new since then `score`. Tries all of
// them; the error names the first that could not be set and counts the others.
Status RestoreOomScores(const CgroupDriver& cgroups, const std::string& cgroup_path,
                        const OomScores& former, int64_t score);

}  // namespace berth::runtime
