#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/thread.h"
#include "runtime/core.h"
#include "runtime/exec_manager.h"
#include "runtime/pod_files.h"

namespace berth::runtime {

namespace {

Result<UniqueFd> NewSocket(int family) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.ok()) return ErrnoError("socket");
  return fd;
}

}  // namespace

Result<std::string> ExecManager::ReadyPod(const std::string& id) const {
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(id));
  const auto [full_id, ready] = entry->With([](const PodRecord& record) {
    return std::pair(record.pod.id, record.phase == PodPhase::kReady);
  });
  if (!ready) return Error(Code::kFailedPrecondition, StrCat("pod ", full_id, " is not ready"));
  return full_id;
}

Result<UniqueFd> ExecManager::PodSocket(const std::string& pod_id, int family) const {
  ASSIGN_OR_RETURN(const std::string id, ReadyPod(pod_id));
  ASSIGN_OR_RETURN(auto entry, core_.FindPod(id));
  const std::string path = entry->With([&](const PodRecord& record) {
    return PathsOfPod(core_.PodDir(id), record.pod.config).net_ns;
  });
  if (path.empty()) return NewSocket(family);
  ASSIGN_OR_RETURN(const UniqueFd ns, Open(path, O_RDONLY), "network namespace");
  // A socket stays in the namespace of the thread that makes it.
  return RunInThread([&]() -> Result<UniqueFd> {
    if (setns(ns.get(), CLONE_NEWNET) != 0) return ErrnoError("enter the network namespace");
    return NewSocket(family);
  });
}

}  // namespace berth::runtime
