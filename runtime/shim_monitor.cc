#include "runtime/shim_monitor.h"

#include <glog/logging.h>
#include <sys/wait.h>

#include "base/socket.h"

namespace berth::runtime {

namespace {
constexpr int64_t kRetryMs = 1000;
}

namespace wire = shim::wire;

ShimMonitor::ShimMonitor(EventLoop& loop, ExitHandler handler)
    : loop_(loop), handler_(std::move(handler)), recorder_([this] { Record(); }) {}

ShimMonitor::~ShimMonitor() {
  std::vector<EventLoop::WatchId> ids;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (const auto& [id, watch] : watches_) ids.push_back(watch);
    for (const auto& [pid, watch] : shims_) ids.push_back(watch);
    changed_.NotifyAll();
  }
  for (EventLoop::WatchId id : ids) loop_.Remove(id);
  recorder_.join();
}

Status ShimMonitor::Watch(const std::string& container_id, UniqueFd connection) {
  // Under the lock, so that the first event finds the watch in the table.
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(auto id, loop_.Watch(std::move(connection), [this, container_id](int fd) {
    OnReadable(container_id, fd);
  }));
  watches_[container_id] = id;
  return Ok();
}

void ShimMonitor::OnReadable(const std::string& container_id, int fd) {
  Exit exit;
  exit.container_id = container_id;
  auto packet = ReceivePacket(fd);
  if (packet.ok() && !packet->bytes.empty()) {
    auto message = wire::Unpack(packet->bytes);
    if (!message.ok() || message->type != wire::Type::kExited) return;
    auto status = wire::Decode<wire::ExitStatus>(message->body);
    if (status.ok()) exit.status = *status;
  }
  auto copy = Duplicate(fd);
  if (copy.ok()) exit.connection = std::move(*copy);
  MutexLock lock(mutex_);
  auto it = watches_.find(container_id);
  if (it == watches_.end()) return;
  loop_.Remove(it->second);
  watches_.erase(it);
  exits_.push_back(std::move(exit));
  changed_.NotifyAll();
}

void ShimMonitor::Record() {
  while (true) {
    Exit exit;
    {
      MutexLock lock(mutex_);
      while (exits_.empty() && !stopping_) changed_.Wait(mutex_);
      // What is left unrecorded stays unacknowledged: the next daemon hears of it.
      if (stopping_) return;
      exit = std::move(exits_.front());
      exits_.pop_front();
    }
    Status status = handler_(exit.container_id, exit.status);
    if (!status.ok()) {
      LOG(ERROR) << "container " << exit.container_id
                 << ": record exit: " << status.error().message();
      TryAgain(std::move(exit));
      continue;
    }
    (void)SendPacket(exit.connection.get(), wire::Pack(wire::Type::kAcknowledge));
  }
}

void ShimMonitor::TryAgain(Exit exit) {
  auto shared = std::make_shared<Exit>(std::move(exit));
  loop_.PostAfterMs(kRetryMs, [this, shared] {
    MutexLock lock(mutex_);
    exits_.push_back(std::move(*shared));
    changed_.NotifyAll();
  });
}

void ShimMonitor::Reap(Child shim) {
  auto pidfd = Duplicate(shim.pidfd());
  if (!pidfd.ok()) {
    LOG(ERROR) << "watch shim: " << pidfd.error().message();
    return;
  }
  MutexLock lock(mutex_);
  const pid_t pid = shim.pid();
  auto id = loop_.Watch(std::move(*pidfd), [this, pid](int fd) {
    siginfo_t info{};
    waitid(P_PIDFD, static_cast<id_t>(fd), &info, WEXITED | WNOHANG);
    MutexLock inner(mutex_);
    auto it = shims_.find(pid);
    if (it == shims_.end()) return;
    loop_.Remove(it->second);
    shims_.erase(it);
  });
  if (!id.ok()) {
    LOG(ERROR) << "watch shim: " << id.error().message();
    return;
  }
  shims_[pid] = *id;
  (void)shim.Release();
}

}  // namespace berth::runtime
