// Learns of containers' exits: one connection to every running shim, watched by the event loop, and
// one thread that records what came.
//
//   shim --kExited--> loop thread --queue--> recorder thread --record, then--> kAcknowledge -->
//   shim ends
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "base/process.h"
#include "base/result.h"
#include "base/sync.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

// Thread-safe. The destructor leaves shims and containers as they are.
class ShimMonitor {
 public:
  // Called on the recorder thread, once per container. Nothing: the shim has gone without a word.
  // The exit is acknowledged if it returns ok, and reported again, a second later or to the next
  // daemon, if not.
  using ExitHandler = std::function<Status(const std::string& container_id,
                                           const std::optional<shim::wire::ExitStatus>& exit)>;
  ShimMonitor(EventLoop& loop, ExitHandler handler);
  ~ShimMonitor();

  // `connection` has been told to watch.
  Status Watch(const std::string& container_id, UniqueFd connection);
  // Reaps a shim, which is a child of this process, when it ends.
  void Reap(Child shim);

 private:
  struct Exit {
    std::string container_id;
    std::optional<shim::wire::ExitStatus> status;
    UniqueFd connection;
  };
  void OnReadable(const std::string& container_id, int fd);
  void Record();
  void TryAgain(Exit exit);

  EventLoop& loop_;
  ExitHandler handler_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::deque<Exit> exits_ GUARDED_BY(mutex_);
  std::map<std::string, EventLoop::WatchId> watches_ GUARDED_BY(mutex_);
  std::map<pid_t, EventLoop::WatchId> shims_ GUARDED_BY(mutex_);
  std::thread recorder_;
};

}  // namespace berth::runtime
