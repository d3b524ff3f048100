// Names and labels of the metrics of ListPodSandboxMetrics: those of kubelet's /metrics/cadvisor.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace berth::runtime {

// CRI's MetricType, with its numbers.
enum class MetricType { kCounter = 0, kGauge = 1 };

// Labels that every metric has, in this order; those of its own follow. As kubelet's cAdvisor names
// them: `id` and `name` are the container's id, `container` is the name that its pod knows it by;
// of what is the pod's, `id` is the pod's and the two are empty.
inline constexpr std::array<std::string_view, 6> kBaseLabels = {"id",        "name", "image",
                                                                "namespace", "pod",  "container"};

struct MetricDescriptor {
  std::string_view name, help;
  MetricType type = MetricType::kGauge;
  std::array<std::string_view, 4> labels = {};  // empty ones are none
};

// In the order of kMetrics.
enum class Metric : size_t {
  kCpuUser,
  kCpuSystem,
  kCpuUsage,
  kCfsPeriods,
  kCfsThrottledPeriods,
  kCfsThrottled,
  kMemoryCache,
  kMemoryRss,
  kMemoryKernel,
  kMemoryMappedFile,
  kMemorySwap,
  kMemoryFailCount,
  kMemoryUsage,
  kMemoryMaxUsage,
  kMemoryWorkingSet,
  kMemoryActiveFile,
  kMemoryInactiveFile,
  kMemoryFailures,
  kHugeUsage,
  kHugeMaxUsage,
  kReceiveBytes,
  kReceivePackets,
  kReceiveDropped,
  kReceiveErrors,
  kTransmitBytes,
  kTransmitPackets,
  kTransmitDropped,
  kTransmitErrors,
  kFsInodesFree,
  kFsInodesTotal,
  kFsLimit,
  kFsUsage,
  kFsReadsBytes,
  kFsReads,
  kFsWritesBytes,
  kFsWrites,
  kBlkioUsage,
  kProcesses,
  kThreads,
  kThreadsMax,
  kFileDescriptors,
  kSockets,
  kUlimitsSoft,
  kOomEvents,
  kLastSeen,
  kStartTime,
  kSpecCpuPeriod,
  kSpecCpuQuota,
  kSpecCpuShares,
  kSpecMemoryLimit,
  kSpecMemoryReservation,
  kSpecMemorySwapLimit,
  kPressureCpuStalled,
  kPressureCpuWaiting,
  kPressureMemoryStalled,
  kPressureMemoryWaiting,
  kPressureIoStalled,
  kPressureIoWaiting,
  kCount,
};
inline constexpr size_t kMetricCount = static_cast<size_t>(Metric::kCount);

extern const std::array<MetricDescriptor, kMetricCount> kMetrics;

inline const MetricDescriptor& DescriptorOf(Metric metric) {
  return kMetrics[static_cast<size_t>(metric)];
}

}  // namespace berth::runtime
