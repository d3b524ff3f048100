#include "snapshotter/background.h"

#include <thread>
#include <utility>

#include "base/time.h"

namespace berth::snapshotter {

Background::Background() : shared_(std::make_shared<Shared>()) {
  // Detached, because a job may be held up in the kernel (syncfs on a slow disk) for longer than
  // the owner should wait; it shares what it uses.
  std::thread([shared = shared_] { Run(shared); }).detach();
}

Background::~Background() {
  MutexLock lock(shared_->mutex);
  shared_->stopping = true;
  shared_->jobs.clear();
  shared_->changed.NotifyAll();
  const int64_t deadline = MonotonicNs() + kMaxWaitMs * 1'000'000;
  while (!shared_->ended && MonotonicNs() < deadline) {
    (void)shared_->changed.WaitMs(shared_->mutex, kMaxWaitMs);
  }
}

void Background::Post(std::function<void()> job) {
  MutexLock lock(shared_->mutex);
  shared_->jobs.push_back(std::move(job));
  shared_->changed.NotifyAll();
}

void Background::Run(const std::shared_ptr<Shared>& shared) {
  while (true) {
    std::function<void()> job;
    {
      MutexLock lock(shared->mutex);
      while (shared->jobs.empty() && !shared->stopping) shared->changed.Wait(shared->mutex);
      if (shared->stopping) break;
      job = std::move(shared->jobs.front());
      shared->jobs.pop_front();
    }
    job();
  }
  MutexLock lock(shared->mutex);
  shared->ended = true;
  shared->changed.NotifyAll();
}

}  // namespace berth::snapshotter
