#include "runtime/core.h"

#include <fcntl.h>

#include "base/file.h"

namespace berth::runtime {

Result<UniqueFd> Core::OpenContainerDir(const std::string& id) const {
  return Open(ContainerDir(id), O_RDONLY | O_DIRECTORY);
}

Result<ShimClient> Core::ConnectShim(const std::string& container_id) const {
  ASSIGN_OR_RETURN(auto dir, OpenContainerDir(container_id));
  return ShimClient::Connect(dir.get());
}

Result<std::shared_ptr<PodEntry>> Core::FindPod(const std::string& id) {
  auto entry = index.pods.Find(id);
  if (!entry)
    return Error(Code::kNotFound, StrCat("pod sandbox \"", Printable(id), "\" not found"));
  return entry;
}

Result<std::shared_ptr<ContainerEntry>> Core::FindContainer(const std::string& id) {
  auto entry = index.containers.Find(id);
  if (!entry) return Error(Code::kNotFound, StrCat("container \"", Printable(id), "\" not found"));
  return entry;
}

void Core::Tell(const PodRecord& record, std::initializer_list<EventType> types) {
  events.Publish(index.pods.Find(record.pod.id), record.pod.id, types);
}

void Core::Tell(const ContainerRecord& record, std::initializer_list<EventType> types) {
  events.Publish(index.pods.Find(record.container.pod_id), record.container.id, types);
}

}  // namespace berth::runtime
