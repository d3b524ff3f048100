#include "runtime/oom_scores.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>
#include <set>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxProcFileBytes = 64 << 10;
constexpr int kMaxRounds = 300;
// A child that is being forked has a copy of its parent's score already and is not listed yet: so
// long must pass without a find that its parent has had its turn on a busy processor.
constexpr int kCalmRounds = 8;
constexpr int kPauseUs = 2000;

// The process's directory, by whose descriptor the number cannot become another process's. Empty if
// it has gone or is not one of the cgroup's.
UniqueFd OpenMember(int32_t pid, const std::string& cgroup_path) {
  auto proc = Open(StrCat("/proc/", pid), O_RDONLY | O_DIRECTORY);
  if (!proc.ok()) return {};
  auto cgroups = ReadFileAt(proc->get(), "cgroup", kMaxProcFileBytes);
  if (!cgroups.ok() || cgroups->find(cgroup_path) == std::string::npos) return {};
  return *std::move(proc);
}

bool HasGone(const Error& error) {
  return error.sys_errno() == ESRCH || error.code() == Code::kNotFound;
}

// Nothing if it has gone, or is not one of the cgroup's.
Result<std::optional<int64_t>> ScoreOf(const UniqueFd& proc) {
  const std::optional<int64_t> nothing;
  if (!proc.ok()) return nothing;
  auto text = ReadFileAt(proc.get(), "oom_score_adj", kMaxProcFileBytes);
  if (!text.ok()) {
    if (HasGone(text.error())) return nothing;
    return std::move(text).error().Wrap("oom_score_adj");
  }
  return ParseNumber<int64_t>(Trim(*text));
}

// Returns what it had; nothing if it has gone, or is not one of the cgroup's.
Result<std::optional<int64_t>> SetOne(int32_t pid, const std::string& cgroup_path, int64_t score) {
  const std::optional<int64_t> nothing;
  const UniqueFd proc = OpenMember(pid, cgroup_path);
  ASSIGN_OR_RETURN(const auto had, ScoreOf(proc));
  if (!had || had == score) return had;
  Status status = WriteFileAt(proc.get(), "oom_score_adj", StrCat(score));
  if (status.ok()) return had;
  if (HasGone(status.error())) return nothing;
  return std::move(status).error().Wrap(StrCat("process ", pid));
}

// Rounds of `set` on those that have not been seen yet, until for some rounds each of them had the
// score already: so have all that they came from. One that has gone may have left a child.
Status ForAll(const CgroupDriver& cgroups, const std::string& cgroup_path,
              const std::function<Result<bool>(int32_t pid, bool is_first_round)>& set) {
  std::set<int32_t> seen;
  int calm_rounds = 0;
  for (int round = 0; round < kMaxRounds; ++round) {
    ASSIGN_OR_RETURN(auto pids, cgroups.Processes(cgroup_path));
    bool all_had_it = true;
    for (int32_t pid : pids) {
      if (!seen.insert(pid).second) continue;
      ASSIGN_OR_RETURN(bool had_it, set(pid, round == 0));
      all_had_it &= had_it;
    }
    calm_rounds = all_had_it ? calm_rounds + 1 : 0;
    if (calm_rounds == kCalmRounds) return Ok();
    usleep(kPauseUs);
  }
  return Error(Code::kFailedPrecondition, StrCat("oom_score_adj: the processes of ", cgroup_path,
                                                 " multiply faster than they can be set"));
}

}  // namespace

Result<OomScores> OtherOomScores(const CgroupDriver& cgroups, const std::string& cgroup_path,
                                 int64_t score) {
  OomScores scores;
  ASSIGN_OR_RETURN(auto pids, cgroups.Processes(cgroup_path));
  for (int32_t pid : pids) {
    ASSIGN_OR_RETURN(const auto has, ScoreOf(OpenMember(pid, cgroup_path)));
    if (has && *has != score) scores.emplace(pid, *has);
  }
  return scores;
}

Status SetOomScores(const CgroupDriver& cgroups, const std::string& cgroup_path, int64_t score,
                    OomScores& former) {
  return ForAll(cgroups, cgroup_path, [&](int32_t pid, bool is_first_round) -> Result<bool> {
    ASSIGN_OR_RETURN(auto had, SetOne(pid, cgroup_path, score));
    // Later, one with the score is a child of one that had another.
    if (had && (is_first_round || *had != score)) former.emplace(pid, *had);
    return had == score;
  });
}

Status RestoreOomScores(const CgroupDriver& cgroups, const std::string& cgroup_path,
                        const OomScores& former, int64_t score) {
  Status first;
  int more = 0;
  Status listed = ForAll(cgroups, cgroup_path, [&](int32_t pid, bool) -> Result<bool> {
    auto known = former.find(pid);
    const int64_t wanted = known == former.end() ? score : known->second;
    auto had = SetOne(pid, cgroup_path, wanted);
    if (had.ok()) return *had == wanted;
    more += first.ok() ? 0 : 1;
    if (first.ok()) first = std::move(had).error();
    return true;
  });
  if (first.ok()) return listed;
  return more == 0 ? first : std::move(first).error().Append(" and ", more, " more");
}

}  // namespace berth::runtime
