// One pod or container in memory: its record, who works on it, and who waits for it.
//
// Locks, in the order in which they are taken: the index's, an entry's operation, its `saving`, its
// status. The status lock is held for moments only and never over a call that can block.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/context.h"
#include "base/result.h"
#include "base/sync.h"
#include "runtime/record.h"

namespace berth::runtime {

// Lets one verb at a time work on an entry. Waiting for it ends with the context, and the error
// then says which verb holds it and since when: a stuck mount blocks its own pod only, and by name.
class Operation {
 public:
  class Guard {
   public:
    explicit Guard(Operation* operation) : operation_(operation) {}
    Guard(Guard&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard();

   private:
    Operation* operation_;
  };
  // `verb` must be a literal.
  Result<Guard> Begin(const Context& context, const char* verb);

 private:
  Mutex mutex_;
  CondVar ended_;
  const char* holder_ GUARDED_BY(mutex_) = nullptr;
  int64_t since_ns_ GUARDED_BY(mutex_) = 0;
};

// The result of a creation that later callers with the same key wait for.
class Creation {
 public:
  void Finish(Status result);
  // The creation's own result, or the context's end.
  Status Wait(const Context& context);
  // Ok once it has ended, however it did; else the context's end.
  Status AwaitEnd(const Context& context);
  bool finished();

 private:
  Mutex mutex_;
  CondVar changed_;
  bool finished_ GUARDED_BY(mutex_) = false;
  Status result_ GUARDED_BY(mutex_);
};

template <typename Record>
class Entry {
 public:
  explicit Entry(Record record) : record_(std::move(record)) {}

  Operation operation;
  Creation creation;
  // Held from a change in memory until it is on disk, so that an older state never overwrites a
  // newer one there (Core::Save).
  Mutex saving;

  Record Get() {
    MutexLock lock(mutex_);
    return record_;
  }
  // Changes the record under the lock and wakes everyone in WaitUntil.
  template <typename Change>
  Record Update(Change change) {
    MutexLock lock(mutex_);
    change(record_);
    ++version_;
    changed_.NotifyAll();
    return record_;
  }
  // Reads something out of the record without copying the whole.
  template <typename Look>
  auto With(Look look) {
    MutexLock lock(mutex_);
    return look(static_cast<const Record&>(record_));
  }
  // How often it has been changed.
  uint64_t version() {
    MutexLock lock(mutex_);
    return version_;
  }
  // False if the context ends before the condition holds.
  template <typename Condition>
  bool WaitUntil(const Context& context, Condition condition) {
    MutexLock lock(mutex_);
    while (!condition(static_cast<const Record&>(record_))) {
      if (!context.Check("wait").ok()) return false;
      // A cancellation is noticed within the quarter of a second, a change at once.
      changed_.WaitMs(mutex_, std::min(context.RemainingMs(), 250));
    }
    return true;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  Record record_ GUARDED_BY(mutex_);
  uint64_t version_ GUARDED_BY(mutex_) = 0;
};

using PodEntry = Entry<PodRecord>;
using ContainerEntry = Entry<ContainerRecord>;

}  // namespace berth::runtime
