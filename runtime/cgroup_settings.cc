#include "runtime/cgroup_settings.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "runtime/cgroup_tree.h"

namespace berth::runtime {

namespace {

Error NoSuchLimit(const CgroupSetting& setting) {
  return {Code::kFailedPrecondition, StrCat(setting.file, ": this machine has no such limit (the ",
                                            setting.controller, " cgroup controller is missing)")};
}

// False if the setting is optional and there is nothing to write it to.
Result<bool> ApplyOne(const CgroupSetting& setting, int dir) {
  Status status =
      dir < 0 ? ErrnoError(ENOENT, setting.file) : WriteFileAt(dir, setting.file, setting.value);
  if (status.ok()) return true;
  switch (status.error().sys_errno()) {
    case ENOENT:
      if (setting.optional) return false;
      return NoSuchLimit(setting);
    case EINVAL:
    case ERANGE:
      return std::move(status).error().WithCode(Code::kInvalidArgument);
    case EBUSY:  // more memory is in use than the limit would allow
      return std::move(status).error().WithCode(Code::kFailedPrecondition);
    default:
      return std::move(status).error();
  }
}

std::string_view FirstWord(std::string_view text) {
  return text.substr(0, text.find(' '));
}

// The number that stands behind a name in a file of names and numbers; 0 if it is not there.
uint64_t ValueOf(std::string_view text, std::string_view name) {
  for (std::string_view line : Split(text, '\n')) {
    if (FirstWord(line) == name && line.size() > name.size()) {
      return ParseNumber<uint64_t>(line.substr(name.size() + 1)).value_or(0);
    }
  }
  return 0;
}

// Files with a line for each device or resource, of which a write changes one (cgroup-v2.rst).
bool HasLines(const CgroupSetting& setting) {
  constexpr std::array<std::string_view, 4> kControllers = {"io", "rdma", "misc", "dmem"};
  return std::count(kControllers.begin(), kControllers.end(), setting.controller) > 0 &&
         setting.file != "io.prio.class";
}

// What takes a device's line out of a file that lists only devices with a limit.
std::optional<std::string_view> NoLimit(std::string_view file) {
  if (file == "io.max") return "rbps=max wbps=max riops=max wiops=max";
  if (file == "io.latency") return "target=max";
  if (file == "io.weight" || file == "io.bfq.weight") return "default";
  return std::nullopt;
}

std::optional<std::string> FormerLine(const CgroupSetting& setting, std::string_view text) {
  std::string_view key = FirstWord(setting.value);
  // "200" is "default 200" there.
  if (setting.file.ends_with(".weight") && ParseNumber<uint64_t>(key)) key = "default";
  for (std::string_view line : Split(text, '\n')) {
    if (FirstWord(line) == key) return std::string(line);
  }
  const auto none = NoLimit(setting.file);
  return none ? std::optional(StrCat(key, " ", *none)) : std::nullopt;
}

FormerSetting FormerOf(const CgroupSetting& setting, int dir) {
  FormerSetting former{setting.controller, setting.file,
                       dir < 0 ? std::nullopt : ReadCgroupFile(dir, setting.file)};
  if (!former.value) return former;
  if (HasLines(setting)) {
    former.value = FormerLine(setting, *former.value);
  } else {
    // A cpuset that has none of its own reads empty; a line end takes away what was given to it.
    *former.value += '\n';
  }
  return former;
}

Status RestoreOne(const FormerSetting& former, int dir) {
  if (!former.value) {
    return Error(Code::kFailedPrecondition, StrCat(former.file, ": its former value is not known"));
  }
  if (former.file == "memory.max") {
    const auto limit = ParseNumber<int64_t>(Trim(*former.value));
    if (limit) RETURN_IF_ERROR(CheckMemoryInUse(dir, *limit));
  }
  return WriteFileAt(dir, former.file, *former.value);
}

}  // namespace

Status CheckControllers(const std::vector<CgroupSetting>& settings,
                        const std::function<bool(std::string_view controller)>& has) {
  for (const CgroupSetting& setting : settings) {
    if (!setting.optional && !has(setting.controller)) return NoSuchLimit(setting);
  }
  return Ok();
}

Status CheckMemoryInUse(int dir, int64_t limit_bytes) {
  if (limit_bytes <= 0) return Ok();
  const auto current = ParseNumber<uint64_t>(ReadCgroupFile(dir, "memory.current").value_or(""));
  const std::string stat = ReadCgroupFile(dir, "memory.stat").value_or("");
  const uint64_t reclaimable = ValueOf(stat, "inactive_file") + ValueOf(stat, "active_file") +
                               ValueOf(stat, "slab_reclaimable");
  if (!current || *current <= reclaimable) return Ok();
  const uint64_t in_use = *current - reclaimable;
  if (in_use <= static_cast<uint64_t>(limit_bytes)) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat("memory_limit_in_bytes: ", limit_bytes, " is below the ", in_use,
                      " bytes that are in use and cannot be reclaimed"));
}

Status ApplySettings(const std::vector<CgroupSetting>& settings,
                     const CgroupDirectoryOf& directory_of) {
  for (const CgroupSetting& setting : settings) {
    RETURN_IF_ERROR(ApplyOne(setting, directory_of(setting.controller)));
  }
  return Ok();
}

std::vector<FormerSetting> FormerSettings(const std::vector<CgroupSetting>& settings,
                                          const CgroupDirectoryOf& directory_of) {
  std::vector<FormerSetting> former;
  for (const CgroupSetting& setting : settings) {
    const int dir = directory_of(setting.controller);
    if (dir < 0 || faccessat(dir, setting.file.c_str(), F_OK, 0) != 0) continue;
    former.insert(former.begin(), FormerOf(setting, dir));
  }
  return former;
}

Result<std::vector<FormerSetting>> ReplaceSettings(const std::vector<CgroupSetting>& settings,
                                                   const CgroupDirectoryOf& directory_of) {
  std::vector<FormerSetting> former;
  for (const CgroupSetting& setting : settings) {
    const int dir = directory_of(setting.controller);
    FormerSetting one = FormerOf(setting, dir);
    auto written = ApplyOne(setting, dir);
    if (!written.ok()) {
      Error error = std::move(written).error();
      Status restored = RestoreSettings(former, directory_of);
      return restored.ok() ? error : std::move(error).Append("; and ", restored.error().message());
    }
    if (*written) former.insert(former.begin(), std::move(one));
  }
  return former;
}

Status RestoreSettings(const std::vector<FormerSetting>& former,
                       const CgroupDirectoryOf& directory_of) {
  Status all;
  // What the kernel takes depends on what is in the other files, and after an update that was cut
  // off that is any mixture of old and new: the first round makes way for the second.
  for (const FormerSetting& one : former) (void)RestoreOne(one, directory_of(one.controller));
  for (const FormerSetting& one : former) {
    Status status = RestoreOne(one, directory_of(one.controller));
    if (status.ok()) continue;
    Error error = std::move(status).error();
    all = all.ok() ? std::move(error).Wrap("cannot be put back")
                   : std::move(all).error().Append("; ", error.message());
  }
  return all;
}

}  // namespace berth::runtime
