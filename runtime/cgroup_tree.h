// Cgroup directories below one mounted hierarchy, the same on both versions. Paths are relative to
// the hierarchy's root ("kubepods/podX/<id>"), already checked by CheckCgroupPath; `root` is a
// descriptor of that root.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::runtime {

// O_PATH descriptor of a cgroup. NotFound.
Result<UniqueFd> OpenCgroup(int root, const std::string& path);

// Makes the directory and the parents that are missing; `prepare` is called for each new one,
// parents first. Returns the new ones, parents first; on failure they are gone again.
Result<std::vector<std::string>> MakeCgroup(
    int root, const std::string& path,
    const std::function<Status(const std::string& made)>& prepare);

// rmdir of it and of what is below, deepest first. Tries again while the kernel says busy, until
// `deadline_ns` of the monotonic clock; then FailedPrecondition. Ok if it does not exist.
Status RemoveCgroup(int root, const std::string& path, int64_t deadline_ns);

// Paths of the cgroups below, parents first. Empty if `path` does not exist.
Result<std::vector<std::string>> CgroupsBelow(int root, const std::string& path);

// Ids of the processes in it and below, in this PID namespace. None if it does not exist.
Result<std::vector<int32_t>> CgroupProcesses(int root, const std::string& path);

// SIGKILL to every process in it and below, again while new ones appear. Ok if it does not exist.
// After a few rounds `freeze` (if given) is called: it stops the members from multiplying.
Status KillCgroupProcesses(int root, const std::string& path, const std::function<void()>& freeze);

// A small file's text without the line end; nothing if it is missing or unreadable.
std::optional<std::string> ReadCgroupFile(int dir, const std::string& file);

}  // namespace berth::runtime
