#include "runtime/systemd_unit.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace berth::runtime {

namespace {

constexpr std::string_view kSliceSuffix = ".slice";
constexpr size_t kMaxUnitName = 255;  // systemd's UNIT_NAME_MAX

// systemd keeps a quota as whole percents of one processor; rounded up, the unit is never tighter
// than what is below it.
constexpr uint64_t kQuotaStepUs = 10'000;

struct NamedLimit {
  std::string_view file;
  std::string_view property;
};
constexpr std::array<NamedLimit, 7> kLimits = {{{"memory.max", "MemoryMax"},
                                                {"memory.high", "MemoryHigh"},
                                                {"memory.low", "MemoryLow"},
                                                {"memory.min", "MemoryMin"},
                                                {"memory.swap.max", "MemorySwapMax"},
                                                {"pids.max", "TasksMax"},
                                                {"cpu.weight", "CPUWeight"}}};

bool IsUnitNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':' ||
         c == '-' || c == '_' || c == '.' || c == '\\' || c == '@';
}

std::optional<uint64_t> ParseLimit(std::string_view text) {
  if (text == "max") return kUnitInfinity;
  return ParseNumber<uint64_t>(text);
}

// "50000 100000" of cpu.max.
void AddQuota(std::string_view value, UnitProperties& out) {
  auto fields = Split(value, ' ');
  if (fields.size() != 2) return;
  const auto quota = ParseLimit(fields[0]);
  const auto period = ParseNumber<uint64_t>(fields[1]);
  if (!quota || !period || *period == 0) return;
  uint64_t per_second = kUnitInfinity;
  if (*quota != kUnitInfinity) {
    per_second = *quota * 1'000'000 / *period;
    per_second = (per_second + kQuotaStepUs - 1) / kQuotaStepUs * kQuotaStepUs;
  }
  out.push_back({"CPUQuotaPerSecUSec", per_second});
  out.push_back({"CPUQuotaPeriodUSec", *period});
}

}  // namespace

Result<std::string> SlicePath(std::string_view slice, std::string_view what) {
  auto refuse = [&](std::string_view why) {
    return Error(Code::kInvalidArgument, StrCat(what, ": \"", Printable(slice), "\" ", why));
  };
  std::string_view name = slice;
  if (size_t slash = slice.rfind('/'); slash != std::string_view::npos) {
    name = slice.substr(slash + 1);
  }
  if (!name.ends_with(kSliceSuffix)) {
    return refuse("is not a slice like \"kubepods-pod1.slice\", which the systemd driver needs");
  }
  if (name.size() > kMaxUnitName) return refuse("is longer than a unit's name may be");
  if (!std::all_of(name.begin(), name.end(), IsUnitNameChar)) {
    return refuse("has characters that a unit's name cannot have");
  }
  const std::string_view stem = name.substr(0, name.size() - kSliceSuffix.size());
  std::string path;
  if (stem != "-") {
    for (size_t end = 0; end != std::string_view::npos;) {
      size_t begin = end == 0 ? 0 : end + 1;
      end = stem.find('-', begin);
      if (end == begin || begin == stem.size()) return refuse("has an empty part between dashes");
      path += StrCat("/", stem.substr(0, end), kSliceSuffix);
    }
  }
  if (name.size() != slice.size() && slice != path) {
    return refuse(StrCat("is not where systemd puts that slice, which is \"", path, "\""));
  }
  return path;
}

std::vector<uint8_t> CpuMask(std::string_view list) {
  std::vector<uint8_t> mask;
  for (std::string_view part : Split(list, ',')) {
    const size_t dash = part.find('-');
    const auto first = ParseNumber<uint32_t>(part.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : ParseNumber<uint32_t>(part.substr(dash + 1));
    if (!first || !last) continue;
    if (mask.size() <= *last / 8) mask.resize(*last / 8 + 1);
    for (uint32_t n = *first; n <= *last; ++n) mask[n / 8] |= static_cast<uint8_t>(1U << (n % 8));
  }
  return mask;
}

UnitProperties PropertiesOf(const std::vector<CgroupSetting>& settings) {
  UnitProperties properties;
  for (const CgroupSetting& setting : settings) {
    if (setting.file == "cpu.max") AddQuota(setting.value, properties);
    if (setting.file == "cpuset.cpus")
      properties.push_back({"AllowedCPUs", CpuMask(setting.value)});
    if (setting.file == "cpuset.mems") {
      properties.push_back({"AllowedMemoryNodes", CpuMask(setting.value)});
    }
    for (const NamedLimit& limit : kLimits) {
      if (setting.file != limit.file) continue;
      if (auto value = ParseLimit(setting.value)) {
        properties.push_back({std::string(limit.property), *value});
      }
    }
  }
  return properties;
}

}  // namespace berth::runtime
