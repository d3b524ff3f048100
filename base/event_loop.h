// One thread that waits for many descriptors and timers and must never block.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"

namespace berth {

// Every method may be called from any thread; callbacks run on the loop's own thread and must not
// block. Stop() (or the destructor) joins the thread.
class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> Start();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  using WatchId = uint64_t;
  // Calls `ready` whenever the descriptor is readable or hung up. The loop owns the descriptor
  // until Remove() closes it.
  Result<WatchId> Watch(UniqueFd fd, std::function<void(int fd)> ready);
  // After it returns on the loop's thread the callback never runs again; called from another
  // thread, one call that is already running may still finish.
  void Remove(WatchId id);

  // Runs the function on the loop's thread, once, as soon as possible or after a delay.
  void Post(std::function<void()> task);
  void PostAfterMs(int64_t delay_ms, std::function<void()> task);

  void Stop();

 private:
  EventLoop() = default;
  void Run();
  int WaitMs() EXCLUDES(mutex_);
  void RunDueTasks() EXCLUDES(mutex_);
  void Wake();

  struct Watched {
    UniqueFd fd;
    std::function<void(int fd)> ready;
  };

  UniqueFd epoll_;
  UniqueFd wake_;  // eventfd, watched as id 0
  Mutex mutex_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  WatchId next_id_ GUARDED_BY(mutex_) = 1;
  std::map<WatchId, std::shared_ptr<Watched>> watched_ GUARDED_BY(mutex_);
  std::multimap<int64_t, std::function<void()>> tasks_ GUARDED_BY(mutex_);  // by due time
  std::thread thread_;
};

}  // namespace berth
