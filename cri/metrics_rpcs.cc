#include "cri/metrics_wire.h"
#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "runtime/metrics.h"

namespace berth::cri {

namespace {

using runtime::MetricDescriptor;
using runtime::MetricValue;

// The values of kBaseLabels.
using BaseLabels = std::array<std::string_view, runtime::kBaseLabels.size()>;

void AppendMetrics(std::string& out, uint32_t field, const BaseLabels& base,
                   const std::vector<MetricValue>& values) {
  const std::string first_labels = LabelBytes({base.begin(), base.end()});
  for (const MetricValue& value : values) {
    const MetricDescriptor& descriptor = runtime::DescriptorOf(value.metric);
    AppendMetric(out, field,
                 {descriptor.name, static_cast<uint32_t>(descriptor.type), value.timestamp_ns,
                  first_labels, value.labels, value.value});
  }
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

std::vector<std::string> RuntimeService::PodMetricsBytes() {
  std::vector<std::string> all;
  for (const runtime::PodMetrics& pod : runtime_.metrics().List()) {
    std::string& out = all.emplace_back();
    const BaseLabels of_pod = {pod.id, "", "", pod.metadata.namespace_, pod.metadata.name, ""};
    AppendField(out, pb::PodSandboxMetrics::kPodSandboxIdFieldNumber, pod.id);
    AppendMetrics(out, pb::PodSandboxMetrics::kMetricsFieldNumber, of_pod, pod.values);
    for (const runtime::ContainerMetrics& container : pod.containers) {
      runtime::Container named;
      named.config.image = container.image;
      auto image = images_.Find(container.image_id);
      const std::string image_name = ImageNameOf(named, image.get());
      const BaseLabels base = {container.id,      container.id,
                               image_name,        pod.metadata.namespace_,
                               pod.metadata.name, container.name};
      std::string one;
      AppendField(one, pb::ContainerMetrics::kContainerIdFieldNumber, container.id);
      AppendMetrics(one, pb::ContainerMetrics::kMetricsFieldNumber, base, container.values);
      AppendField(out, pb::PodSandboxMetrics::kContainerMetricsFieldNumber, one);
    }
  }
  return all;
}

grpc::Status RuntimeService::ListPodSandboxMetrics(grpc::ServerContext*,
                                                   const pb::ListPodSandboxMetricsRequest*,
                                                   pb::ListPodSandboxMetricsResponse* response) {
  auto* fields = response->GetReflection()->MutableUnknownFields(response);
  for (std::string& pod : PodMetricsBytes()) {
    *fields->AddLengthDelimited(pb::ListPodSandboxMetricsResponse::kPodMetricsFieldNumber) =
        std::move(pod);
  }
  return grpc::Status::OK;
}

}  // namespace berth::cri
