// The lists that come in chunks, for answers that are larger than clients take in one message. Each
// is the answer of its unary sibling, cut up: one moment's list, each item once.
#include <utility>

#include "cri/image_service.h"
#include "cri/runtime_service.h"

namespace berth::cri {

namespace {

// A chunk is sent once it has this much. Clients take 4 MiB by default, kubelet 16.
constexpr size_t kChunkBytes = 256 << 10;

grpc::Status Gone() {
  return {grpc::StatusCode::CANCELLED, "the client has gone"};
}

// Each item once: `add` moves it into a chunk, and returns how many bytes it has.
template <typename Chunk, typename Items, typename Add>
grpc::Status SendInChunks(Items& items, const Add& add, grpc::ServerWriter<Chunk>* writer) {
  Chunk chunk;
  size_t bytes = 0;
  for (auto& item : items) {
    bytes += add(item, chunk);
    if (bytes < kChunkBytes) continue;
    if (!writer->Write(chunk)) return Gone();
    chunk.Clear();
    bytes = 0;
  }
  if (bytes > 0 && !writer->Write(chunk)) return Gone();
  return grpc::Status::OK;
}

// Sends all of `items` as the repeated field that `field` gives of a chunk.
template <typename Chunk, typename Item>
grpc::Status SendChunks(google::protobuf::RepeatedPtrField<Item>* items,
                        google::protobuf::RepeatedPtrField<Item>* (Chunk::*field)(),
                        grpc::ServerWriter<Chunk>* writer) {
  const auto add = [&](Item& item, Chunk& chunk) {
    const size_t bytes = item.ByteSizeLong();
    (chunk.*field)()->Add(std::move(item));
    return bytes;
  };
  return SendInChunks(*items, add, writer);
}

}  // namespace

grpc::Status RuntimeService::StreamPodSandboxes(
    grpc::ServerContext* call, const pb::StreamPodSandboxesRequest* request,
    grpc::ServerWriter<pb::StreamPodSandboxesResponse>* writer) {
  pb::ListPodSandboxRequest same;
  if (request->has_filter()) *same.mutable_filter() = request->filter();
  pb::ListPodSandboxResponse all;
  grpc::Status status = ListPodSandbox(call, &same, &all);
  if (!status.ok()) return status;
  return SendChunks(all.mutable_items(), &pb::StreamPodSandboxesResponse::mutable_pod_sandboxes,
                    writer);
}

grpc::Status RuntimeService::StreamContainers(
    grpc::ServerContext* call, const pb::StreamContainersRequest* request,
    grpc::ServerWriter<pb::StreamContainersResponse>* writer) {
  pb::ListContainersRequest same;
  if (request->has_filter()) *same.mutable_filter() = request->filter();
  pb::ListContainersResponse all;
  grpc::Status status = ListContainers(call, &same, &all);
  if (!status.ok()) return status;
  return SendChunks(all.mutable_containers(), &pb::StreamContainersResponse::mutable_containers,
                    writer);
}

grpc::Status RuntimeService::StreamContainerStats(
    grpc::ServerContext* call, const pb::StreamContainerStatsRequest* request,
    grpc::ServerWriter<pb::StreamContainerStatsResponse>* writer) {
  pb::ListContainerStatsRequest same;
  if (request->has_filter()) *same.mutable_filter() = request->filter();
  pb::ListContainerStatsResponse all;
  grpc::Status status = ListContainerStats(call, &same, &all);
  if (!status.ok()) return status;
  return SendChunks(all.mutable_stats(), &pb::StreamContainerStatsResponse::mutable_container_stats,
                    writer);
}

grpc::Status RuntimeService::StreamPodSandboxStats(
    grpc::ServerContext* call, const pb::StreamPodSandboxStatsRequest* request,
    grpc::ServerWriter<pb::StreamPodSandboxStatsResponse>* writer) {
  pb::ListPodSandboxStatsRequest same;
  if (request->has_filter()) *same.mutable_filter() = request->filter();
  pb::ListPodSandboxStatsResponse all;
  grpc::Status status = ListPodSandboxStats(call, &same, &all);
  if (!status.ok()) return status;
  return SendChunks(all.mutable_stats(),
                    &pb::StreamPodSandboxStatsResponse::mutable_pod_sandbox_stats, writer);
}

grpc::Status RuntimeService::StreamPodSandboxMetrics(
    grpc::ServerContext*, const pb::StreamPodSandboxMetricsRequest*,
    grpc::ServerWriter<pb::StreamPodSandboxMetricsResponse>* writer) {
  using Chunk = pb::StreamPodSandboxMetricsResponse;
  const auto add = [](std::string& pod, Chunk& chunk) {
    const size_t bytes = pod.size();
    *chunk.GetReflection()->MutableUnknownFields(&chunk)->AddLengthDelimited(
        Chunk::kPodSandboxMetricsFieldNumber) = std::move(pod);
    return bytes;
  };
  std::vector<std::string> pods = PodMetricsBytes();
  return SendInChunks(pods, add, writer);
}

grpc::Status ImageService::StreamImages(grpc::ServerContext* call,
                                        const pb::StreamImagesRequest* request,
                                        grpc::ServerWriter<pb::StreamImagesResponse>* writer) {
  pb::ListImagesRequest same;
  if (request->has_filter()) *same.mutable_filter() = request->filter();
  pb::ListImagesResponse all;
  grpc::Status status = ListImages(call, &same, &all);
  if (!status.ok()) return status;
  return SendChunks(all.mutable_images(), &pb::StreamImagesResponse::mutable_images, writer);
}

}  // namespace berth::cri
