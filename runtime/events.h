// What happens to pods and containers, told to whoever listens (GetContainerEvents).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "base/sync.h"
#include "runtime/index.h"
#include "runtime/pod_snapshot.h"

namespace berth::runtime {

// CRI's ContainerEventType, with its numbers.
enum class EventType { kCreated = 0, kStarted = 1, kStopped = 2, kDeleted = 3 };

struct Event {
  std::string id;  // the container's, or the pod's where it is about the pod itself
  EventType type = EventType::kCreated;
  int64_t timestamp_ns = 0;
  // As of `timestamp_ns`, after the event. Missing if the pod is not there any more.
  std::optional<PodSnapshot> pod;
};

// Every subscriber gets every event from its subscription on, in one order that is the same for
// all: of one container created, started, stopped, deleted. Thread-safe.
//
// A queue holds kMaxQueued events. A subscriber that lets it overflow loses its subscription, and
// nobody waits for it.
class EventBus {
 public:
  static constexpr size_t kMaxQueued = 256;
  static constexpr size_t kMaxSubscribers = 64;  // each has a thread of its own

  explicit EventBus(Index& index) : index_(index) {}
  EventBus(const EventBus&) = delete;
  EventBus& operator=(const EventBus&) = delete;

  using Pointer = std::shared_ptr<const Event>;
  // Must not outlive the bus.
  class Subscription {
   public:
    explicit Subscription(EventBus& bus) : bus_(bus) {}
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    // The next event, null if there is none within `wait_ms`; ResourceExhausted once it fell
    // behind.
    Result<Pointer> Next(int64_t wait_ms);

   private:
    friend class EventBus;
    EventBus& bus_;
    CondVar changed_;
    std::deque<Pointer> queue_;  // both guarded by the bus's mutex
    bool overflowed_ = false;
  };
  // ResourceExhausted if there are too many subscribers.
  Result<std::unique_ptr<Subscription>> Subscribe();

  // Costs next to nothing without subscribers. To be called after the change, by whoever makes the
  // next change wait until this returns (Core::SaveAndTell). Takes the index's and status locks.
  void Publish(const std::shared_ptr<PodEntry>& pod, const std::string& id,
               std::initializer_list<EventType> types);

 private:
  Index& index_;
  std::atomic<size_t> count_{0};  // of subscribers, read without the lock
  Mutex mutex_;
  std::set<Subscription*> subscribers_ GUARDED_BY(mutex_);
};

}  // namespace berth::runtime
