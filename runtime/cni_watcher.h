// The network configuration in use: loaded at start, and again when its directory changes.
#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/sync.h"
#include "runtime/cni_config.h"

namespace berth::runtime {

// Thread-safe. The directory may appear, vanish and be replaced. While no configuration is there
// every call of Current() looks again, so a directory that does not exist yet needs no watch.
class CniWatcher : public std::enable_shared_from_this<CniWatcher> {
 public:
  static std::shared_ptr<CniWatcher> Start(std::string dir, EventLoop& loop);
  // Ends the watch; the loop makes no further use of this object.
  void Stop() EXCLUDES(mutex_);

  // Or why there is none (Unavailable).
  Result<std::shared_ptr<const CniNetwork>> Current() EXCLUDES(mutex_);

 private:
  CniWatcher(std::string dir, EventLoop& loop) : dir_(std::move(dir)), loop_(loop) {}
  void Reload() REQUIRES(mutex_);
  void StartWatch() REQUIRES(mutex_);
  void EndWatch() REQUIRES(mutex_);
  void OnEvents(int fd) EXCLUDES(mutex_);

  const std::string dir_;
  EventLoop& loop_;
  Mutex mutex_;
  bool stopped_ GUARDED_BY(mutex_) = false;
  bool reload_due_ GUARDED_BY(mutex_) = false;
  EventLoop::WatchId watch_ GUARDED_BY(mutex_) = 0;  // 0: none
  std::shared_ptr<const CniNetwork> network_ GUARDED_BY(mutex_);
  Status missing_ GUARDED_BY(mutex_);  // why network_ is null
};

}  // namespace berth::runtime
