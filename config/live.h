// The configuration in force, which SIGHUP replaces while others read it.
#pragma once

#include <memory>
#include <utility>

#include "base/sync.h"
#include "config/config.h"

namespace berth::config {

// Thread-safe. Who needs several values that belong together, or a reference to one, keeps what
// Get() returned: it stays as it is.
class LiveConfig {
 public:
  explicit LiveConfig(Config config)
      : current_(std::make_shared<const Config>(std::move(config))) {}

  std::shared_ptr<const Config> Get() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return current_;
  }
  std::shared_ptr<const Config> operator->() const { return Get(); }
  void Set(Config config) EXCLUDES(mutex_) {
    auto next = std::make_shared<const Config>(std::move(config));
    MutexLock lock(mutex_);
    current_.swap(next);
  }

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const Config> current_ GUARDED_BY(mutex_);
};

}  // namespace berth::config
