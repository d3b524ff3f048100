#include "base/event_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/time.h"

namespace berth {

Result<std::unique_ptr<EventLoop>> EventLoop::Start() {
  std::unique_ptr<EventLoop> loop(new EventLoop);
  loop->epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  loop->wake_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->epoll_.ok() || !loop->wake_.ok()) return ErrnoError("event loop");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  if (epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0) {
    return ErrnoError("event loop: epoll_ctl");
  }
  loop->thread_ = std::thread([raw = loop.get()] { raw->Run(); });
  return loop;
}

EventLoop::~EventLoop() {
  Stop();
}

Result<EventLoop::WatchId> EventLoop::Watch(UniqueFd fd, std::function<void(int)> ready) {
  MutexLock lock(mutex_);
  WatchId id = next_id_++;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) return ErrnoError("epoll_ctl");
  watched_[id] = std::make_shared<Watched>(Watched{std::move(fd), std::move(ready)});
  return id;
}

void EventLoop::Remove(WatchId id) {
  std::shared_ptr<Watched> gone;  // closed after the lock is given up
  MutexLock lock(mutex_);
  auto it = watched_.find(id);
  if (it == watched_.end()) return;
  gone = std::move(it->second);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, gone->fd.get(), nullptr);
  watched_.erase(it);
}

void EventLoop::Post(std::function<void()> task) {
  PostAfterMs(0, std::move(task));
}

void EventLoop::PostAfterMs(int64_t delay_ms, std::function<void()> task) {
  {
    MutexLock lock(mutex_);
    tasks_.emplace(MonotonicNs() + delay_ms * 1'000'000, std::move(task));
  }
  Wake();
}

void EventLoop::Wake() {
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void EventLoop::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

int EventLoop::WaitMs() {
  MutexLock lock(mutex_);
  if (tasks_.empty()) return -1;
  int64_t left_ns = tasks_.begin()->first - MonotonicNs();
  return static_cast<int>(std::clamp<int64_t>((left_ns + 999'999) / 1'000'000, 0, 60'000));
}

void EventLoop::RunDueTasks() {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      if (stopping_ || tasks_.empty() || tasks_.begin()->first > MonotonicNs()) return;
      task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
    }
    task();
  }
}

void EventLoop::Run() {
  (void)pthread_setname_np(pthread_self(), "event-loop");  // for who looks at a daemon that hangs
  while (true) {
    epoll_event events[32];
    int n = epoll_wait(epoll_.get(), events, 32, WaitMs());
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == 0) {
        uint64_t drained = 0;
        (void)!read(wake_.get(), &drained, sizeof drained);
        continue;
      }
      std::shared_ptr<Watched> watched;
      {
        MutexLock lock(mutex_);
        auto it = watched_.find(events[i].data.u64);
        if (it != watched_.end()) watched = it->second;
      }
      if (watched) watched->ready(watched->fd.get());
    }
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
    }
    RunDueTasks();
  }
}

}  // namespace berth
