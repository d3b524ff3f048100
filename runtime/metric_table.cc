#include "runtime/metric_table.h"

namespace berth::runtime {

namespace {

constexpr MetricType kCounter = MetricType::kCounter;
constexpr MetricType kGauge = MetricType::kGauge;

}  // namespace

const std::array<MetricDescriptor, kMetricCount> kMetrics = {{
    {"container_cpu_user_seconds_total", "CPU time spent in user mode", kCounter},
    {"container_cpu_system_seconds_total", "CPU time spent in the kernel", kCounter},
    {"container_cpu_usage_seconds_total", "CPU time used", kCounter, {"cpu"}},
    {"container_cpu_cfs_periods_total", "Periods of the CPU quota that have passed", kCounter},
    {"container_cpu_cfs_throttled_periods_total", "Periods in which the CPU quota was used up",
     kCounter},
    {"container_cpu_cfs_throttled_seconds_total", "Time spent waiting for the CPU quota", kCounter},

    {"container_memory_cache", "Page cache, in bytes", kGauge},
    {"container_memory_rss", "Anonymous memory, in bytes", kGauge},
    {"container_memory_kernel_usage", "Memory of the kernel for the container, in bytes", kGauge},
    {"container_memory_mapped_file", "Mapped files, in bytes", kGauge},
    {"container_memory_swap", "Memory in swap, in bytes", kGauge},
    {"container_memory_failcnt", "How often the memory limit was hit", kCounter},
    {"container_memory_usage_bytes", "Memory in use, page cache included", kGauge},
    {"container_memory_max_usage_bytes", "The most memory that was in use", kGauge},
    {"container_memory_working_set_bytes",
     "Memory in use without the page cache that was not used lately", kGauge},
    {"container_memory_total_active_file_bytes", "Page cache that was used lately", kGauge},
    {"container_memory_total_inactive_file_bytes", "Page cache that was not used lately", kGauge},
    {"container_memory_failures_total", "Page faults", kCounter, {"failure_type", "scope"}},

    {"container_hugetlb_usage_bytes", "Huge pages in use", kGauge, {"pagesize"}},
    {"container_hugetlb_max_usage_bytes",
     "The most huge pages that were in use",
     kGauge,
     {"pagesize"}},

    {"container_network_receive_bytes_total", "Bytes received", kCounter, {"interface"}},
    {"container_network_receive_packets_total", "Packets received", kCounter, {"interface"}},
    {"container_network_receive_packets_dropped_total",
     "Packets dropped on receipt",
     kCounter,
     {"interface"}},
    {"container_network_receive_errors_total", "Errors on receipt", kCounter, {"interface"}},
    {"container_network_transmit_bytes_total", "Bytes sent", kCounter, {"interface"}},
    {"container_network_transmit_packets_total", "Packets sent", kCounter, {"interface"}},
    {"container_network_transmit_packets_dropped_total",
     "Packets dropped instead of sent",
     kCounter,
     {"interface"}},
    {"container_network_transmit_errors_total", "Errors on sending", kCounter, {"interface"}},

    {"container_fs_inodes_free", "Inodes that the file system has left", kGauge, {"device"}},
    {"container_fs_inodes_total", "Inodes of the file system", kGauge, {"device"}},
    {"container_fs_limit_bytes", "Size of the file system", kGauge, {"device"}},
    {"container_fs_usage_bytes",
     "What the container has written into its root file system",
     kGauge,
     {"device"}},
    {"container_fs_reads_bytes_total", "Bytes read from the device", kCounter, {"device"}},
    {"container_fs_reads_total", "Reads from the device", kCounter, {"device"}},
    {"container_fs_writes_bytes_total", "Bytes written to the device", kCounter, {"device"}},
    {"container_fs_writes_total", "Writes to the device", kCounter, {"device"}},
    {"container_blkio_device_usage_total",
     "Bytes moved from and to the device",
     kCounter,
     {"device", "major", "minor", "operation"}},

    {"container_processes", "Processes in the container", kGauge},
    {"container_threads", "Threads in the container", kGauge},
    {"container_threads_max", "Threads that the container may have; 0: no limit", kGauge},
    {"container_file_descriptors", "Open file descriptors of the container", kGauge},
    {"container_sockets", "Open sockets of the container", kGauge},
    {"container_ulimits_soft", "Soft limits of the container's first process", kGauge, {"ulimit"}},
    {"container_oom_events_total", "Processes killed for want of memory", kCounter},

    {"container_last_seen", "When the container was last seen, in seconds since 1970", kGauge},
    {"container_start_time_seconds", "When the container was started, in seconds since 1970",
     kGauge},

    {"container_spec_cpu_period", "Period of the CPU quota, in microseconds", kGauge},
    {"container_spec_cpu_quota", "CPU quota in a period, in microseconds", kGauge},
    {"container_spec_cpu_shares", "Share of the CPU", kGauge},
    {"container_spec_memory_limit_bytes", "Memory limit; 0: none", kGauge},
    {"container_spec_memory_reservation_limit_bytes", "Memory that is kept for it; 0: none",
     kGauge},
    {"container_spec_memory_swap_limit_bytes", "Limit of memory and swap together; 0: none",
     kGauge},

    {"container_pressure_cpu_stalled_seconds_total", "Time in which all waited for a CPU",
     kCounter},
    {"container_pressure_cpu_waiting_seconds_total", "Time in which some waited for a CPU",
     kCounter},
    {"container_pressure_memory_stalled_seconds_total", "Time in which all waited for memory",
     kCounter},
    {"container_pressure_memory_waiting_seconds_total", "Time in which some waited for memory",
     kCounter},
    {"container_pressure_io_stalled_seconds_total", "Time in which all waited for a device",
     kCounter},
    {"container_pressure_io_waiting_seconds_total", "Time in which some waited for a device",
     kCounter},
}};

}  // namespace berth::runtime
