#include "runtime/events.h"

#include "base/time.h"

namespace berth::runtime {

EventBus::Subscription::~Subscription() {
  MutexLock lock(bus_.mutex_);
  bus_.subscribers_.erase(this);
  bus_.count_ = bus_.subscribers_.size();
}

Result<EventBus::Pointer> EventBus::Subscription::Next(int64_t wait_ms) {
  const int64_t until_ns = MonotonicNs() + wait_ms * 1'000'000;
  MutexLock lock(bus_.mutex_);
  while (queue_.empty() && !overflowed_) {
    const int64_t left_ms = (until_ns - MonotonicNs()) / 1'000'000;
    if (left_ms <= 0) return Pointer();
    (void)changed_.WaitMs(bus_.mutex_, left_ms);
  }
  if (overflowed_) {
    return Error(Code::kResourceExhausted,
                 StrCat("more than ", kMaxQueued,
                        " events were not read in time: subscribe again, and list what there is"));
  }
  Pointer event = std::move(queue_.front());
  queue_.pop_front();
  return event;
}

Result<std::unique_ptr<EventBus::Subscription>> EventBus::Subscribe() {
  auto subscription = std::make_unique<Subscription>(*this);
  MutexLock lock(mutex_);
  if (subscribers_.size() >= kMaxSubscribers) {
    return Error(Code::kResourceExhausted,
                 StrCat("there are ", kMaxSubscribers, " subscribers of events already"));
  }
  subscribers_.insert(subscription.get());
  count_ = subscribers_.size();
  return subscription;
}

void EventBus::Publish(const std::shared_ptr<PodEntry>& pod, const std::string& id,
                       std::initializer_list<EventType> types) {
  if (count_ == 0) return;
  // Held over the look at the pod, so that a later event never has an older state.
  MutexLock lock(mutex_);
  for (EventType type : types) {
    auto event = std::make_shared<Event>();
    event->id = id;
    event->type = type;
    if (pod) {
      event->pod = TakePodSnapshot(index_, *pod);
      event->timestamp_ns = event->pod->timestamp_ns;
    } else {
      event->timestamp_ns = WallNs();
    }
    for (Subscription* subscriber : subscribers_) {
      if (subscriber->overflowed_) continue;
      if (subscriber->queue_.size() >= kMaxQueued) {
        subscriber->overflowed_ = true;
        subscriber->queue_.clear();
      } else {
        subscriber->queue_.push_back(event);
      }
      subscriber->changed_.NotifyAll();
    }
  }
}

}  // namespace berth::runtime
