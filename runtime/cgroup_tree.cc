#include "runtime/cgroup_tree.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/time.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxProcsBytes = 64 << 20;
constexpr size_t kMaxCgroups = 100'000;
constexpr int kRoundsBeforeFreeze = 3;
constexpr int kMaxRounds = 200;

void SleepMs(int64_t ms) {
  timespec span{ms / 1000, (ms % 1000) * 1'000'000};
  nanosleep(&span, nullptr);
}

std::string Parent(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

// Names of the directories in `path`.
Result<std::vector<std::string>> Children(int root, const std::string& path) {
  std::vector<std::string> names;
  auto dir = OpenNoSymlinks(root, path, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) {
    if (dir.code() == Code::kNotFound) return names;
    return std::move(dir).error();
  }
  RETURN_IF_ERROR(ForEachEntry(dir->get(), [&](const std::string& name) {
    struct stat info {};
    if (fstatat(dir->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(info.st_mode)) {
      names.push_back(name);
    }
    return Ok();
  }));
  return names;
}

void RemoveMade(int root, const std::vector<std::string>& made) {
  for (auto it = made.rbegin(); it != made.rend(); ++it) {
    unlinkat(root, it->c_str(), AT_REMOVEDIR);
  }
}

// mkdir of `path` alone. True if it is new.
Result<bool> MakeOne(int root, const std::string& path) {
  if (mkdirat(root, path.c_str(), 0755) == 0) return true;
  if (errno == EEXIST) return false;
  return ErrnoError(StrCat("mkdir cgroup /", path));
}

// One round: kills every process of the tree, returns their ids.
Result<std::set<pid_t>> KillRound(int root, const std::string& path) {
  std::set<pid_t> killed;
  ASSIGN_OR_RETURN(auto pids, CgroupProcesses(root, path));
  for (pid_t pid : pids) {
    if (kill(pid, SIGKILL) == 0) killed.insert(pid);
  }
  return killed;
}

}  // namespace

Result<UniqueFd> OpenCgroup(int root, const std::string& path) {
  return OpenNoSymlinks(root, path, O_PATH | O_DIRECTORY);
}

Result<std::vector<std::string>> MakeCgroup(
    int root, const std::string& path,
    const std::function<Status(const std::string& made)>& prepare) {
  // Nearly always only the last one is missing: down to the first that can be made, then up again.
  std::vector<std::string> missing = {path};
  std::vector<std::string> made;
  while (!missing.empty()) {
    auto fresh = MakeOne(root, missing.back());
    if (!fresh.ok() && fresh.code() == Code::kNotFound && !Parent(missing.back()).empty() &&
        made.empty()) {
      missing.push_back(Parent(missing.back()));
      continue;
    }
    Status status = fresh.ok() ? Ok() : Status(fresh.error());
    if (fresh.ok() && *fresh) {
      made.push_back(missing.back());
      status = prepare(missing.back());
    }
    if (!status.ok()) {
      RemoveMade(root, made);
      return std::move(status).error();
    }
    missing.pop_back();
  }
  return made;
}

Status RemoveCgroup(int root, const std::string& path, int64_t deadline_ns) {
  for (int64_t pause_ms = 1;; pause_ms = std::min<int64_t>(2 * pause_ms, 50)) {
    if (unlinkat(root, path.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Ok();
    // Busy: members or cgroups below. A fixture's plain directory says not empty.
    if (errno != EBUSY && errno != ENOTEMPTY) return ErrnoError(StrCat("rmdir cgroup /", path));
    ASSIGN_OR_RETURN(auto below, CgroupsBelow(root, path));
    RemoveMade(root, below);
    if (unlinkat(root, path.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Ok();
    if (MonotonicNs() >= deadline_ns) {
      return Error(Code::kFailedPrecondition,
                   StrCat("rmdir cgroup /", path, ": processes are left in it"), EBUSY);
    }
    SleepMs(pause_ms);
  }
}

Result<std::vector<std::string>> CgroupsBelow(int root, const std::string& path) {
  std::vector<std::string> all;
  std::vector<std::string> open = {path};
  while (!open.empty()) {
    std::string current = std::move(open.back());
    open.pop_back();
    ASSIGN_OR_RETURN(auto names, Children(root, current));
    for (const std::string& name : names) {
      all.push_back(StrCat(current, "/", name));
      open.push_back(all.back());
    }
    if (all.size() > kMaxCgroups) {
      return Error(Code::kResourceExhausted,
                   StrCat("more than ", kMaxCgroups, " cgroups below /", path));
    }
  }
  return all;
}

Result<std::vector<int32_t>> CgroupProcesses(int root, const std::string& path) {
  std::vector<int32_t> pids;
  ASSIGN_OR_RETURN(auto cgroups, CgroupsBelow(root, path));
  cgroups.push_back(path);
  for (const std::string& cgroup : cgroups) {
    auto text = ReadFileAt(root, cgroup + "/cgroup.procs", kMaxProcsBytes);
    if (!text.ok()) {
      // ENODEV: removed between open and read.
      if (text.code() == Code::kNotFound || text.error().sys_errno() == ENODEV) continue;
      return std::move(text).error();
    }
    for (std::string_view line : Split(*text, '\n')) {
      auto pid = ParseNumber<int32_t>(line);
      // 0: a process outside this PID namespace.
      if (pid && *pid > 0) pids.push_back(*pid);
    }
  }
  return pids;
}

Status KillCgroupProcesses(int root, const std::string& path, const std::function<void()>& freeze) {
  std::set<pid_t> before;
  for (int round = 0; round < kMaxRounds; ++round) {
    if (round == kRoundsBeforeFreeze && freeze) freeze();
    ASSIGN_OR_RETURN(auto now, KillRound(root, path), "kill cgroup /", path);
    // Those that were there before have their signal and go when they can.
    if (std::includes(before.begin(), before.end(), now.begin(), now.end())) return Ok();
    before = std::move(now);
    if (round > kRoundsBeforeFreeze) SleepMs(1);
  }
  return Error(
      Code::kFailedPrecondition,
      StrCat("kill cgroup /", path, ": its processes multiply faster than they are killed"));
}

std::optional<std::string> ReadCgroupFile(int dir, const std::string& file) {
  auto text = ReadFileAt(dir, file, kMaxFileBytes);
  if (!text.ok()) return std::nullopt;
  return std::string(Trim(*text));
}

}  // namespace berth::runtime
