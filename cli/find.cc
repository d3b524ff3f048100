#include "cli/find.h"

#include <fcntl.h>

#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "cli/run_options.h"

namespace berth::cli {
namespace {

bool IsLive(const rt::Container& container) {
  return container.state() == rt::CONTAINER_RUNNING;
}
bool IsLive(const rt::PodSandbox& pod) {
  return pod.state() == rt::SANDBOX_READY;
}

template <typename Item>
std::vector<const Item*> Matching(const google::protobuf::RepeatedPtrField<Item>& items,
                                  const std::string& wanted) {
  std::vector<const Item*> named;
  std::vector<const Item*> prefixed;
  for (const Item& item : items) {
    if (item.id() == wanted) return {&item};
    if (item.id().starts_with(wanted)) prefixed.push_back(&item);
    if (item.metadata().name() == wanted) named.push_back(&item);
  }
  return named.empty() ? prefixed : named;
}

template <typename Item>
Result<Item> Find(const google::protobuf::RepeatedPtrField<Item>& items, const std::string& wanted,
                  std::string_view kind) {
  std::vector<const Item*> found = Matching(items, wanted);
  if (wanted.empty() || found.empty()) {
    return Error(Code::kNotFound, StrCat("no ", kind, " \"", Printable(wanted), "\""));
  }
  if (found.size() > 1) std::erase_if(found, [](const Item* item) { return !IsLive(*item); });
  if (found.size() != 1) {
    return Error(Code::kInvalidArgument, StrCat("more than one ", kind, " is called \"",
                                                Printable(wanted), "\": use an id"));
  }
  return *found.front();
}

}  // namespace

Result<rt::Container> FindContainer(Client& client, const std::string& id_or_name) {
  ASSIGN_OR_RETURN(const auto list, client.Call(rt::ListContainersRequest()));
  return Find(list.containers(), id_or_name, "container");
}

Result<rt::PodSandbox> FindPod(Client& client, const std::string& id_or_name) {
  ASSIGN_OR_RETURN(const auto list, client.Call(rt::ListPodSandboxRequest()));
  return Find(list.items(), id_or_name, "pod");
}

Status RemoveRunPod(Client& client, const std::string& pod_id, const std::string& uid) {
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(pod_id);
  RETURN_IF_ERROR(client.Call(stop), "stop pod ", pod_id);
  rt::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(pod_id);
  RETURN_IF_ERROR(client.Call(remove), "remove pod ", pod_id);
  return RemoveLogs(client, uid);
}

Status RemoveLogs(Client& client, const std::string& uid) {
  // The label could have been set by anybody: it must not lead elsewhere.
  if (!IsPlainRelativePath(uid) || uid.find('/') != std::string::npos) return Ok();
  const std::string root_path = LogRoot(client.SocketPath());
  auto root = Open(root_path, O_RDONLY | O_DIRECTORY);
  if (!root.ok()) return root.code() == Code::kNotFound ? Ok() : Status(root.error());
  RETURN_IF_ERROR(RemoveTreeAt(root->get(), uid), "remove logs in ", root_path);
  return Ok();
}

}  // namespace berth::cli
