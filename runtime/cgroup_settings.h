// Writes the settings of runtime/cgroup_resources.h into the files of a cgroup, and back.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup_resources.h"

namespace berth::runtime {

// The directory of the controller; -1: there is none.
using CgroupDirectoryOf = std::function<int(std::string_view controller)>;

// FailedPrecondition for a setting that is not optional and whose controller is missing.
Status CheckControllers(const std::vector<CgroupSetting>& settings,
                        const std::function<bool(std::string_view controller)>& has);

// FailedPrecondition if more memory is in use than the limit allows, and the kernel could not
// reclaim it: to such a limit version 2 kills its way, while version 1 refuses it by itself.
Status CheckMemoryInUse(int dir, int64_t limit_bytes);

// Writes every setting, up to the first failure, which names file and value.
Status ApplySettings(const std::vector<CgroupSetting>& settings,
                     const CgroupDirectoryOf& directory_of);
// The same, all or nothing: on failure what was written is taken back, and the error says what
// could not be. Returns what it has replaced, in the order in which it is to be written back.
Result<std::vector<FormerSetting>> ReplaceSettings(const std::vector<CgroupSetting>& settings,
                                                   const CgroupDirectoryOf& directory_of);
// What is now where these would be written, in the order in which it is to be written back. A file
// that is not there, which only an optional setting can do without, is left out.
std::vector<FormerSetting> FormerSettings(const std::vector<CgroupSetting>& settings,
                                          const CgroupDirectoryOf& directory_of);
// Every one, also after one has failed; the error names all that could not be written. A limit of
// memory that is now below what is in use is one of these: nobody is killed for an undo.
Status RestoreSettings(const std::vector<FormerSetting>& former,
                       const CgroupDirectoryOf& directory_of);

}  // namespace berth::runtime
