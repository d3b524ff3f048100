// Files by directory descriptor. Paths that come from outside (a layer, a rootfs, a volume) are
// only ever walked with OpenBeneath or OpenInRoot, which the kernel resolves in one step
// (openat2(2)).
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace berth {

// open(2) with O_CLOEXEC; for paths that Berth or its configuration chose.
Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> OpenAt(int dir, const std::string& name, int flags, mode_t mode = 0);

// Resolves `path` below `dir`; a symlink may be followed but never leads out (ELOOP/EXDEV), and no
// magic link of /proc is followed. Absolute paths and leading ".." are refused by the kernel.
Result<UniqueFd> OpenBeneath(int dir, const std::string& path, int flags, mode_t mode = 0);
// The same with `dir` as the root directory: absolute symlinks and ".." stay inside.
Result<UniqueFd> OpenInRoot(int dir, const std::string& path, int flags, mode_t mode = 0);
// Refuses every symlink on the way.
Result<UniqueFd> OpenNoSymlinks(int dir, const std::string& path, int flags, mode_t mode = 0);

// The content of a regular file (or of a file in /proc, /sys); larger than `max_bytes` is an error.
Result<std::string> ReadFile(const std::string& path, size_t max_bytes = 16 << 20);
Result<std::string> ReadFileAt(int dir, const std::string& name, size_t max_bytes = 16 << 20);
// One write(2) into an existing file: for /proc, /sys and cgroup files.
Status WriteFileAt(int dir, const std::string& name, std::string_view data);
Status WriteFile(const std::string& path, std::string_view data);

enum class Durability { kNone, kFsync };
// Writes a temporary file beside it and renames it into place, so readers see all or nothing.
Status AtomicWriteFileAt(int dir, const std::string& name, std::string_view data, mode_t mode,
                         Durability durability = Durability::kNone);

// mkdir -p for a path of our own configuration; the last directory gets `mode` if it is made here.
Status MakeDirs(const std::string& path, mode_t mode);
// mkdir that is content with an existing directory.
Status MakeDirAt(int dir, const std::string& name, mode_t mode);

// Removes a tree by descriptors, without recursion (depth is bounded by memory for names only),
// never leaving the file system it began on and following no symlink. A missing tree is fine.
Status RemoveTreeAt(int dir, const std::string& name);

// Calls `visit` with every name in the directory but "." and ".."; stops at the first failure.
Status ForEachEntry(int dir, const std::function<Status(const std::string& name)>& visit);

Result<bool> Exists(const std::string& path);

// True if no component is empty, "." or "..", it does not begin with '/', and it has no NUL byte.
bool IsPlainRelativePath(std::string_view path);

}  // namespace berth
