#include "runtime/cgroup_stats.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "runtime/cgroup_tree.h"

namespace berth::runtime {

namespace {

// memory.stat, the longest, has some 3 KB.
constexpr size_t kMaxFileBytes = 16 << 10;
// cgroup v1 shows a page counter without a limit as a number near 2^63.
constexpr uint64_t kUnlimited = uint64_t{1} << 62;

struct FileName {
  std::string_view controller;
  const char* name;
};

enum V1File : size_t { kV1Cpu, kV1Memory, kV1MemoryStat, kV1Tasks };
constexpr std::array<FileName, 4> kV1Files = {{{"cpuacct", "cpuacct.usage"},
                                               {"memory", "memory.usage_in_bytes"},
                                               {"memory", "memory.stat"},
                                               {"pids", "pids.current"}}};

enum V2File : size_t {
  kV2Cpu,
  kV2Memory,
  kV2MemoryStat,
  kV2MemoryMax,
  kV2Swap,
  kV2SwapMax,
  kV2Tasks,
  kV2CpuPressure,
  kV2MemoryPressure,
  kV2IoPressure,
};
constexpr std::array<FileName, 10> kV2Files = {{{"cpu", "cpu.stat"},
                                                {"memory", "memory.current"},
                                                {"memory", "memory.stat"},
                                                {"memory", "memory.max"},
                                                {"memory", "memory.swap.current"},
                                                {"memory", "memory.swap.max"},
                                                {"pids", "pids.current"},
                                                {"cpu", "cpu.pressure"},
                                                {"memory", "memory.pressure"},
                                                {"io", "io.pressure"}}};

// Calls visit(key, value) for each line "key value".
template <typename Visit>
void ForEachKey(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    if (auto value = ParseNumber<uint64_t>(line.substr(space + 1))) {
      visit(line.substr(0, space), *value);
    }
  }
}

struct MemoryKey {
  std::string_view key;
  uint64_t MemorySample::*field;
};
// total_*: with the cgroups below, where an exec may be.
constexpr std::array<MemoryKey, 7> kV1MemoryKeys = {
    {{"total_cache", &MemorySample::cache_bytes},
     {"total_rss", &MemorySample::rss_bytes},
     {"total_mapped_file", &MemorySample::mapped_file_bytes},
     {"total_pgfault", &MemorySample::page_faults},
     {"total_pgmajfault", &MemorySample::major_page_faults},
     {"total_inactive_file", &MemorySample::inactive_file_bytes},
     {"total_active_file", &MemorySample::active_file_bytes}}};
constexpr std::array<MemoryKey, 7> kV2MemoryKeys = {
    {{"file", &MemorySample::cache_bytes},
     {"anon", &MemorySample::rss_bytes},
     {"file_mapped", &MemorySample::mapped_file_bytes},
     {"pgfault", &MemorySample::page_faults},
     {"pgmajfault", &MemorySample::major_page_faults},
     {"inactive_file", &MemorySample::inactive_file_bytes},
     {"active_file", &MemorySample::active_file_bytes}}};

template <size_t N>
MemorySample ParseMemory(const std::array<MemoryKey, N>& keys, std::string_view stat,
                         uint64_t usage_bytes) {
  MemorySample memory;
  memory.usage_bytes = usage_bytes;
  ForEachKey(stat, [&](std::string_view key, uint64_t value) {
    for (const MemoryKey& known : keys) {
      if (known.key == key) memory.*known.field = value;
    }
  });
  memory.working_set_bytes = usage_bytes - std::min(memory.inactive_file_bytes, usage_bytes);
  return memory;
}

// The text of an open file from its beginning, in `buffer`; nothing if the file was not there when
// the meter was opened. NotFound if the cgroup has gone.
Result<std::optional<std::string_view>> Reread(const UniqueFd& file, std::string& buffer) {
  if (!file.ok()) return std::optional<std::string_view>();
  buffer.resize(kMaxFileBytes);
  ssize_t n = 0;
  do {
    n = pread(file.get(), buffer.data(), buffer.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == ENODEV) return Error(Code::kNotFound, "the cgroup has gone", ENODEV);
  // Pressure accounting may be compiled in and switched off.
  if (n < 0 && errno == EOPNOTSUPP) return std::optional<std::string_view>();
  if (n < 0) return ErrnoError("read cgroup file");
  return std::optional(std::string_view(buffer.data(), static_cast<size_t>(n)));
}

// Its number; nothing for "max" or a file that is not there.
Result<std::optional<uint64_t>> RereadNumber(const UniqueFd& file, std::string& buffer) {
  ASSIGN_OR_RETURN(auto text, Reread(file, buffer));
  return text ? ParseNumber<uint64_t>(Trim(*text)) : std::nullopt;
}

Result<std::optional<Pressure>> RereadPressure(const UniqueFd& file, std::string& buffer) {
  ASSIGN_OR_RETURN(auto text, Reread(file, buffer));
  return text ? ParsePressure(*text) : std::nullopt;
}

std::optional<double> ParseDecimal(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "some avg10=34.58 avg60=41.63 avg300=37.62 total=8214471001" without the first word.
std::optional<PressureLine> ParsePressureLine(std::string_view words) {
  PressureLine line;
  for (std::string_view word : Split(words, ' ')) {
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "total") {
      auto total = ParseNumber<uint64_t>(value);
      if (!total) return std::nullopt;
      line.total_us = *total;
      continue;
    }
    auto average = ParseDecimal(value);
    if (!average) return std::nullopt;
    if (key == "avg10") line.avg10 = *average;
    if (key == "avg60") line.avg60 = *average;
    if (key == "avg300") line.avg300 = *average;
  }
  return line;
}

}  // namespace

std::optional<uint64_t> KeyedValue(std::string_view text, std::string_view key) {
  std::optional<uint64_t> found;
  ForEachKey(text, [&](std::string_view name, uint64_t value) {
    if (name == key) found = value;
  });
  return found;
}

std::optional<Pressure> ParsePressure(std::string_view text) {
  Pressure pressure;
  bool any = false;
  for (std::string_view line : Split(text, '\n')) {
    const bool some = line.starts_with("some "), full = line.starts_with("full ");
    if (!some && !full) continue;
    auto parsed = ParsePressureLine(line.substr(5));
    if (!parsed) return std::nullopt;
    (some ? pressure.some : pressure.full) = *parsed;
    any = true;
  }
  return any ? std::optional(pressure) : std::nullopt;
}

Result<CgroupMeter> CgroupMeter::Open(CgroupVersion version, const OpenCgroupDirectory& open) {
  CgroupMeter meter;
  meter.version_ = version;
  const bool v2 = version == CgroupVersion::kV2;
  const FileName* names = v2 ? kV2Files.data() : kV1Files.data();
  const size_t count = v2 ? kV2Files.size() : kV1Files.size();
  Result<UniqueFd> directory = Error(Code::kNotFound, "no such cgroup");
  std::string_view opened;
  bool any = false;
  for (size_t i = 0; i < count; ++i) {
    // On v2 all files are in one directory.
    if (i == 0 || (!v2 && names[i].controller != opened)) directory = open(names[i].controller);
    opened = names[i].controller;
    if (!directory.ok()) {
      if (directory.code() != Code::kNotFound) return std::move(directory).error();
      continue;
    }
    any = true;
    auto file = OpenAt(directory->get(), names[i].name, O_RDONLY);
    if (file.ok()) meter.files_[i] = *std::move(file);
    // Its controller is not enabled there, or the kernel has no pressure accounting.
    else if (file.code() != Code::kNotFound)
      return std::move(file).error();
  }
  if (!any) return std::move(directory).error();
  return meter;
}

Result<CgroupSample> CgroupMeter::Read() const {
  CgroupSample sample;
  RETURN_IF_ERROR(version_ == CgroupVersion::kV2 ? ReadV2(sample) : ReadV1(sample));
  return sample;
}

Status CgroupMeter::ReadV1(CgroupSample& sample) const {
  std::string buffer;
  ASSIGN_OR_RETURN(sample.cpu_usage_ns, RereadNumber(files_[kV1Cpu], buffer));
  ASSIGN_OR_RETURN(sample.tasks, RereadNumber(files_[kV1Tasks], buffer));
  ASSIGN_OR_RETURN(auto usage, RereadNumber(files_[kV1Memory], buffer));
  ASSIGN_OR_RETURN(auto stat, Reread(files_[kV1MemoryStat], buffer));
  if (!usage || !stat) return Ok();
  sample.memory = ParseMemory(kV1MemoryKeys, *stat, *usage);
  // These two take the parents' limits into account, and save reading two more files.
  const uint64_t limit = KeyedValue(*stat, "hierarchical_memory_limit").value_or(kUnlimited);
  if (limit < kUnlimited) sample.memory->limit_bytes = limit;
  const auto swap = KeyedValue(*stat, "total_swap");
  const auto total = KeyedValue(*stat, "hierarchical_memsw_limit");
  if (!swap || !total) return Ok();  // swap is not accounted for
  sample.swap = SwapSample{*swap, std::nullopt};
  if (*total < kUnlimited) sample.swap->limit_bytes = *total - std::min(limit, *total);
  return Ok();
}

Status CgroupMeter::ReadV2(CgroupSample& sample) const {
  std::string buffer;
  ASSIGN_OR_RETURN(auto cpu, Reread(files_[kV2Cpu], buffer));
  if (cpu) {
    const auto usage_us = KeyedValue(*cpu, "usage_usec");
    if (usage_us) sample.cpu_usage_ns = *usage_us * 1000;
  }
  ASSIGN_OR_RETURN(sample.tasks, RereadNumber(files_[kV2Tasks], buffer));
  ASSIGN_OR_RETURN(sample.cpu_pressure, RereadPressure(files_[kV2CpuPressure], buffer));
  ASSIGN_OR_RETURN(sample.memory_pressure, RereadPressure(files_[kV2MemoryPressure], buffer));
  ASSIGN_OR_RETURN(sample.io_pressure, RereadPressure(files_[kV2IoPressure], buffer));
  ASSIGN_OR_RETURN(auto swap, RereadNumber(files_[kV2Swap], buffer));
  if (swap) {
    sample.swap = SwapSample{*swap, std::nullopt};
    ASSIGN_OR_RETURN(sample.swap->limit_bytes, RereadNumber(files_[kV2SwapMax], buffer));
  }
  ASSIGN_OR_RETURN(auto usage, RereadNumber(files_[kV2Memory], buffer));
  ASSIGN_OR_RETURN(auto limit, RereadNumber(files_[kV2MemoryMax], buffer));
  ASSIGN_OR_RETURN(auto stat, Reread(files_[kV2MemoryStat], buffer));
  if (!usage || !stat) return Ok();
  sample.memory = ParseMemory(kV2MemoryKeys, *stat, *usage);
  sample.memory->limit_bytes = limit;
  return Ok();
}

}  // namespace berth::runtime
