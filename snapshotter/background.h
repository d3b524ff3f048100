// One thread that runs jobs in the order in which they came.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/sync.h"

namespace berth::snapshotter {

// Jobs own all that they touch: the destructor drops those not yet begun and waits for the running
// one for `kMaxWaitMs` at most; after that the job ends on its own.
class Background {
 public:
  static constexpr int64_t kMaxWaitMs = 3000;

  Background();
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  void Post(std::function<void()> job);

 private:
  struct Shared {
    Mutex mutex;
    CondVar changed;
    std::deque<std::function<void()>> jobs GUARDED_BY(mutex);
    bool stopping GUARDED_BY(mutex) = false;
    bool ended GUARDED_BY(mutex) = false;
  };
  static void Run(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace berth::snapshotter
