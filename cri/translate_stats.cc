#include <algorithm>

#include "base/utf8.h"
#include "cri/status.h"
#include "cri/translate_answer_common.h"

namespace berth::cri {

namespace {

using runtime::InterfaceSample;
using runtime::Reading;

// The whole time in microseconds, as the kernel, cAdvisor and the other runtimes tell it.
void SetPressure(const runtime::PressureLine& from, pb::PsiData* to) {
  to->set_total(from.total_us);
  to->set_avg10(from.avg10);
  to->set_avg60(from.avg60);
  to->set_avg300(from.avg300);
}

void SetPressure(const runtime::Pressure& from, pb::PsiStats* to) {
  SetPressure(from.full, to->mutable_full());
  SetPressure(from.some, to->mutable_some());
}

void SetCpu(const Reading& from, pb::CpuUsage* to) {
  to->set_timestamp(from.timestamp_ns);
  to->mutable_usage_core_nano_seconds()->set_value(*from.sample.cpu_usage_ns);
  if (from.cpu_nano_cores) to->mutable_usage_nano_cores()->set_value(*from.cpu_nano_cores);
  if (from.sample.cpu_pressure) SetPressure(*from.sample.cpu_pressure, to->mutable_psi());
}

void SetMemory(const Reading& from, pb::MemoryUsage* to) {
  const runtime::MemorySample& memory = *from.sample.memory;
  to->set_timestamp(from.timestamp_ns);
  to->mutable_working_set_bytes()->set_value(memory.working_set_bytes);
  if (memory.limit_bytes) {
    to->mutable_available_bytes()->set_value(
        *memory.limit_bytes - std::min(memory.working_set_bytes, *memory.limit_bytes));
  }
  to->mutable_usage_bytes()->set_value(memory.usage_bytes);
  to->mutable_rss_bytes()->set_value(memory.rss_bytes);
  to->mutable_page_faults()->set_value(memory.page_faults);
  to->mutable_major_page_faults()->set_value(memory.major_page_faults);
  if (from.sample.memory_pressure) SetPressure(*from.sample.memory_pressure, to->mutable_psi());
}

void SetSwap(const Reading& from, pb::SwapUsage* to) {
  const runtime::SwapSample& swap = *from.sample.swap;
  to->set_timestamp(from.timestamp_ns);
  to->mutable_swap_usage_bytes()->set_value(swap.usage_bytes);
  if (swap.limit_bytes) {
    to->mutable_swap_available_bytes()->set_value(*swap.limit_bytes -
                                                  std::min(swap.usage_bytes, *swap.limit_bytes));
  }
}

// ContainerStats and LinuxPodSandboxStats have these by the same names.
template <typename Stats>
void SetCpuMemoryIo(const Reading& from, Stats* to) {
  if (from.sample.cpu_usage_ns) SetCpu(from, to->mutable_cpu());
  if (from.sample.memory) SetMemory(from, to->mutable_memory());
  if (from.sample.io_pressure) {
    to->mutable_io()->set_timestamp(from.timestamp_ns);
    SetPressure(*from.sample.io_pressure, to->mutable_io()->mutable_psi());
  }
}

void SetInterface(const InterfaceSample& from, pb::NetworkInterfaceUsage* to) {
  to->set_name(ToUtf8(from.name));
  to->mutable_rx_bytes()->set_value(from.rx_bytes);
  to->mutable_rx_errors()->set_value(from.rx_errors);
  to->mutable_tx_bytes()->set_value(from.tx_bytes);
  to->mutable_tx_errors()->set_value(from.tx_errors);
}

void SetNetwork(int64_t timestamp_ns, const std::vector<InterfaceSample>& interfaces,
                pb::NetworkUsage* to) {
  to->set_timestamp(timestamp_ns);
  for (const InterfaceSample& one : interfaces) {
    const bool is_default = one.name == runtime::kDefaultInterface;
    SetInterface(one, is_default ? to->mutable_default_interface() : to->add_interfaces());
  }
}

}  // namespace

void ToPb(const runtime::ContainerUsage& usage, pb::ContainerStats* out) {
  pb::ContainerAttributes* attributes = out->mutable_attributes();
  attributes->set_id(usage.id);
  SetMetadata(usage.metadata, attributes->mutable_metadata());
  SetMap(usage.labels, attributes->mutable_labels());
  SetMap(usage.annotations, attributes->mutable_annotations());
  if (usage.reading) {
    SetCpuMemoryIo(*usage.reading, out);
    if (usage.reading->sample.swap) SetSwap(*usage.reading, out->mutable_swap());
  }
  if (usage.writable_layer) {
    ToPb(usage.writable_layer->usage, usage.writable_layer_mountpoint,
         usage.writable_layer->measured_at_ns, out->mutable_writable_layer());
  }
}

void ToPb(const runtime::PodUsage& usage, pb::PodSandboxStats* out) {
  pb::PodSandboxAttributes* attributes = out->mutable_attributes();
  attributes->set_id(usage.id);
  SetMetadata(usage.metadata, attributes->mutable_metadata());
  SetMap(usage.labels, attributes->mutable_labels());
  SetMap(usage.annotations, attributes->mutable_annotations());
  pb::LinuxPodSandboxStats* stats = out->mutable_linux();
  if (usage.reading) {
    SetCpuMemoryIo(*usage.reading, stats);
    if (usage.reading->sample.tasks) {
      stats->mutable_process()->set_timestamp(usage.reading->timestamp_ns);
      stats->mutable_process()->mutable_process_count()->set_value(*usage.reading->sample.tasks);
    }
  }
  if (usage.network) {
    SetNetwork(usage.network_timestamp_ns, *usage.network, stats->mutable_network());
  }
  for (const runtime::ContainerUsage& container : usage.containers) {
    ToPb(container, stats->add_containers());
  }
}

}  // namespace berth::cri
