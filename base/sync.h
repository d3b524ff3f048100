// Mutex, lock and condition with clang's thread-safety annotations (checked by the clang preset).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define BERTH_TSA(x) __attribute__((x))
#else
#define BERTH_TSA(x)
#endif
// Abseil, which gRPC's headers include, defines these two with the same meaning.
#undef GUARDED_BY
#undef NO_THREAD_SAFETY_ANALYSIS
#define CAPABILITY(x) BERTH_TSA(capability(x))
#define SCOPED_CAPABILITY BERTH_TSA(scoped_lockable)
#define GUARDED_BY(x) BERTH_TSA(guarded_by(x))
#define REQUIRES(...) BERTH_TSA(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) BERTH_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) BERTH_TSA(release_capability(__VA_ARGS__))
#define EXCLUDES(...) BERTH_TSA(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS BERTH_TSA(no_thread_safety_analysis)

namespace berth {

class CAPABILITY("mutex") Mutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  // Gives the mutex up while it waits. May wake without cause: loop over the condition.
  void Wait(Mutex& mutex) REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // False once `ms` have passed.
  bool WaitMs(Mutex& mutex, int64_t ms) REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    auto status = condition_.wait_for(lock, std::chrono::milliseconds(ms));
    lock.release();
    return status == std::cv_status::no_timeout;
  }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace berth
