#include "base/utf8.h"
#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "runtime/metrics.h"

namespace berth::cri {

namespace {

using runtime::MetricDescriptor;
using runtime::MetricValue;

// The values of kBaseLabels.
using BaseLabels = std::array<std::string, runtime::kBaseLabels.size()>;

void SetMetric(const MetricValue& from, const BaseLabels& base, pb::Metric* to) {
  const MetricDescriptor& descriptor = runtime::DescriptorOf(from.metric);
  to->set_name(descriptor.name.data(), descriptor.name.size());
  to->set_metric_type(static_cast<pb::MetricType>(descriptor.type));
  to->set_timestamp(from.timestamp_ns);
  for (const std::string& label : base) to->add_label_values(label);
  for (const std::string& label : from.labels) to->add_label_values(ToUtf8(label));
  to->mutable_value()->set_value(from.value);
}

}  // namespace

grpc::Status RuntimeService::ListMetricDescriptors(grpc::ServerContext*,
                                                   const pb::ListMetricDescriptorsRequest*,
                                                   pb::ListMetricDescriptorsResponse* response) {
  for (const MetricDescriptor& descriptor : runtime::kMetrics) {
    pb::MetricDescriptor* out = response->add_descriptors();
    out->set_name(descriptor.name.data(), descriptor.name.size());
    out->set_help(descriptor.help.data(), descriptor.help.size());
    for (std::string_view key : runtime::kBaseLabels) out->add_label_keys(key.data(), key.size());
    for (std::string_view key : descriptor.labels) {
      if (!key.empty()) out->add_label_keys(key.data(), key.size());
    }
  }
  return grpc::Status::OK;
}

grpc::Status RuntimeService::ListPodSandboxMetrics(grpc::ServerContext*,
                                                   const pb::ListPodSandboxMetricsRequest*,
                                                   pb::ListPodSandboxMetricsResponse* response) {
  for (const runtime::PodMetrics& pod : runtime_.metrics().List()) {
    pb::PodSandboxMetrics* out = response->add_pod_metrics();
    out->set_pod_sandbox_id(pod.id);
    const BaseLabels of_pod = {pod.id, "", "", pod.metadata.namespace_, pod.metadata.name, ""};
    for (const MetricValue& value : pod.values) SetMetric(value, of_pod, out->add_metrics());
    for (const runtime::ContainerMetrics& container : pod.containers) {
      pb::ContainerMetrics* one = out->add_container_metrics();
      one->set_container_id(container.id);
      runtime::Container named;
      named.config.image = container.image;
      auto image = images_.Find(container.image_id);
      const BaseLabels base = {container.id,
                               container.id,
                               ImageNameOf(named, image.get()),
                               pod.metadata.namespace_,
                               pod.metadata.name,
                               container.name};
      for (const MetricValue& value : container.values) SetMetric(value, base, one->add_metrics());
    }
  }
  return grpc::Status::OK;
}

}  // namespace berth::cri
