#include "cri/metrics_page.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "base/metrics.h"
#include "base/time.h"

namespace berth::cri {

namespace {

using Type = PrometheusText::Type;

void AddStore(const MetricsParts& parts, PrometheusText& text) {
  text.Family("berth_images", Type::kGauge, "Images in the store.");
  text.Sample({}, parts.images.List().size());
  if (auto layers = parts.snapshotter.ListLayers(); layers.ok()) {
    text.Family("berth_store_layers", Type::kGauge, "Unpacked layers in the store.");
    text.Sample({}, layers->size());
  }
  auto usage = parts.snapshotter.LayersUsage();
  const auto snapshots = parts.snapshotter.SnapshotsUsage();
  if (usage.ok() && snapshots.ok()) {
    usage->bytes += snapshots->bytes;
    usage->inodes += snapshots->inodes;
    text.Family("berth_store_bytes", Type::kGauge, "What layers and writable layers take on disk.");
    text.Sample({}, usage->bytes);
    text.Family("berth_store_inodes", Type::kGauge, "Inodes of layers and writable layers.");
    text.Sample({}, usage->inodes);
  }
}

void AddRuntime(const MetricsParts& parts, PrometheusText& text) {
  std::array<uint64_t, 2> pods{};
  parts.runtime.pods().ForEach({}, [&](const runtime::Pod& pod) {
    ++pods.at(pod.state == runtime::PodState::kReady ? 0 : 1);
  });
  text.Family("berth_pods", Type::kGauge, "Pods by state.");
  text.Sample({{"state", "ready"}}, pods[0]);
  text.Sample({{"state", "notready"}}, pods[1]);
  std::array<uint64_t, 4> containers{};
  parts.runtime.containers().ForEach({}, [&](const runtime::Container& container) {
    ++containers.at(static_cast<size_t>(container.state));
  });
  text.Family("berth_containers", Type::kGauge, "Containers by state.");
  constexpr std::array<const char*, 4> kStates = {"created", "running", "exited", "unknown"};
  for (size_t i = 0; i < kStates.size(); ++i) {
    text.Sample({{"state", kStates[i]}}, containers[i]);
  }
}

// The fields of /proc/self/stat after the program's name, from the third on (proc(5)).
std::vector<std::string> StatFields() {
  std::vector<std::string> out;
  auto stat = ReadFile("/proc/self/stat", 4096);
  if (!stat.ok()) return out;
  const size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos) return out;
  for (std::string_view field : Split(Trim(stat->substr(name_end + 1)), ' '))
    out.emplace_back(field);
  return out;
}

uint64_t OpenFiles() {
  uint64_t files = 0;
  auto dir = Open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return 0;
  (void)ForEachEntry(dir->get(), [&](const std::string&) {
    ++files;
    return Ok();
  });
  return files > 0 ? files - 1 : 0;  // without the one that reads
}

// By the names that every client library of Prometheus gives them.
void AddProcess(PrometheusText& text) {
  const std::vector<std::string> fields = StatFields();
  auto field = [&](size_t number) {
    return fields.size() > number - 3 ? ParseNumber<uint64_t>(fields[number - 3]).value_or(0) : 0;
  };
  const int64_t tick_ns = 1'000'000'000 / std::max(1L, sysconf(_SC_CLK_TCK));
  text.Family("process_cpu_seconds_total", Type::kCounter, "CPU time of the daemon.");
  text.Seconds({}, static_cast<int64_t>(field(14) + field(15)) * tick_ns);
  text.Family("process_resident_memory_bytes", Type::kGauge, "Resident memory of the daemon.");
  text.Sample({}, field(24) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  text.Family("process_virtual_memory_bytes", Type::kGauge, "Address space of the daemon.");
  text.Sample({}, field(23));
  text.Family("process_threads", Type::kGauge, "Threads of the daemon.");
  text.Sample({}, field(20));
  text.Family("process_open_fds", Type::kGauge, "Open files of the daemon.");
  text.Sample({}, OpenFiles());
  const int64_t boot_ns = WallNs() - ClockNs(CLOCK_BOOTTIME);
  text.Family("process_start_time_seconds", Type::kGauge, "When the daemon began, since 1970.");
  text.Seconds({}, boot_ns + static_cast<int64_t>(field(22)) * tick_ns);
}

}  // namespace

std::string MetricsPage(const MetricsParts& parts) {
  PrometheusText text;
  text.Family("berth_build_info", Type::kGauge, "1, with the version as a label.");
  text.Sample({{"version", parts.version}}, 1);
  parts.calls.WriteTo(text);
  parts.puller.stats().WriteTo(text);
  text.Family("berth_image_pulls_in_progress", Type::kGauge, "Pulls that are under way.");
  text.Sample({}, parts.puller.UnderWay().size());
  AddStore(parts, text);
  AddRuntime(parts, text);
  AddProcess(text);
  return text.Take();
}

}  // namespace berth::cri
