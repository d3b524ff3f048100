// Units of systemd as the cgroup driver needs them: their names and the properties that say what a
// cgroup's files say. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup_resources.h"

namespace berth::runtime {

// A property of org.freedesktop.systemd1(5) with a value of its D-Bus type.
struct UnitProperty {
  std::string name;
  std::variant<bool, uint64_t, std::string, std::vector<uint8_t>, std::vector<uint32_t>> value;

  bool operator==(const UnitProperty&) const = default;
};
using UnitProperties = std::vector<UnitProperty>;

// For limits: no limit.
inline constexpr uint64_t kUnitInfinity = UINT64_MAX;

// "a-b-c.slice" as a path of the hierarchy, "/a.slice/a-b.slice/a-b-c.slice" (systemd.slice(5));
// "-.slice" is "". The slice may be named by its path, as kubelet does; then the path must be just
// that. InvalidArgument begins with `what`.
Result<std::string> SlicePath(std::string_view slice, std::string_view what);

// The properties that stand for those of the settings that systemd knows of. The others are in the
// cgroup's files alone.
UnitProperties PropertiesOf(const std::vector<CgroupSetting>& settings);

// "0-3,7" as a bit mask, lowest processor first, as AllowedCPUs wants it.
std::vector<uint8_t> CpuMask(std::string_view list);

}  // namespace berth::runtime
