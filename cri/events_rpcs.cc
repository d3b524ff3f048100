#include "cri/runtime_service.h"
#include "cri/status.h"
#include "cri/translate_answer.h"

namespace berth::cri {

namespace {

// How soon a client that has gone, or the daemon's end, is noticed where nothing happens.
constexpr int64_t kWaitMs = 250;

}  // namespace

grpc::Status RuntimeService::GetContainerEvents(
    grpc::ServerContext* call, const pb::GetEventsRequest*,
    grpc::ServerWriter<pb::ContainerEventResponse>* writer) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto subscription, runtime_.events().Subscribe());
    // So that the client knows from when on it misses nothing.
    writer->SendInitialMetadata();
    const Context context = Bounded(*call);
    while (!call->IsCancelled()) {
      RETURN_IF_ERROR(context.Check("wait for events"));
      ASSIGN_OR_RETURN(auto event, subscription->Next(kWaitMs));
      if (!event) continue;
      pb::ContainerEventResponse response;
      response.set_container_id(event->id);
      response.set_container_event_type(static_cast<pb::ContainerEventType>(event->type));
      response.set_created_at(event->timestamp_ns);
      if (event->pod) {
        ToPb(event->pod->pod, response.mutable_pod_sandbox_status());
        for (const runtime::Container& container : event->pod->containers) {
          Describe(container, response.add_containers_statuses());
        }
      }
      if (!writer->Write(response)) break;
    }
    return Ok();  // the client has gone
  });
}

}  // namespace berth::cri
