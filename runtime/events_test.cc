#include "runtime/events.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/time.h"

namespace berth::runtime {
namespace {

class EventsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PodRecord pod;
    pod.pod.id = "pod";
    pod.pod.state = PodState::kReady;
    pod.phase = PodPhase::kReady;
    pod_ = std::make_shared<PodEntry>(pod);
    index_.pods.Reserve("pod", "pod", pod_);
  }
  std::shared_ptr<ContainerEntry> Add(const std::string& id, const std::string& pod,
                                      ContainerPhase phase) {
    ContainerRecord record;
    record.container.id = id;
    record.container.pod_id = pod;
    record.phase = phase;
    auto entry = std::make_shared<ContainerEntry>(record);
    index_.containers.Reserve(id, id, entry);
    return entry;
  }

  Index index_;
  EventBus bus_{index_};
  std::shared_ptr<PodEntry> pod_;
};

TEST_F(EventsTest, EverySubscriberGetsEveryEventInOrder) {
  bus_.Publish(pod_, "before", {EventType::kCreated});
  auto one = bus_.Subscribe();
  auto two = bus_.Subscribe();
  ASSERT_TRUE(one.ok() && two.ok());
  bus_.Publish(pod_, "pod", {EventType::kCreated, EventType::kStarted});
  bus_.Publish(pod_, "c", {EventType::kStopped});
  for (auto* subscription : {one->get(), two->get()}) {
    int64_t last_ns = 0;
    for (const auto& [id, type] :
         {std::pair("pod", EventType::kCreated), std::pair("pod", EventType::kStarted),
          std::pair("c", EventType::kStopped)}) {
      auto event = subscription->Next(0);
      ASSERT_TRUE(event.ok() && *event);
      EXPECT_EQ((*event)->id, id);
      EXPECT_EQ((*event)->type, type);
      EXPECT_GE((*event)->timestamp_ns, last_ns);
      EXPECT_EQ((*event)->timestamp_ns, (*event)->pod->timestamp_ns);
      last_ns = (*event)->timestamp_ns;
    }
    auto none = subscription->Next(0);
    ASSERT_TRUE(none.ok());
    EXPECT_EQ(*none, nullptr);
  }
}

TEST_F(EventsTest, AnEventHasThePodAndItsContainersAtThatMoment) {
  Add("mine", "pod", ContainerPhase::kCreated);
  Add("unfinished", "pod", ContainerPhase::kCreating);
  Add("others", "other", ContainerPhase::kCreated);
  auto subscription = bus_.Subscribe();
  ASSERT_TRUE(subscription.ok());
  bus_.Publish(pod_, "mine", {EventType::kCreated});
  bus_.Publish(nullptr, "mine", {EventType::kDeleted});
  auto event = (*subscription)->Next(0);
  ASSERT_TRUE(event.ok() && *event);
  EXPECT_EQ((*event)->pod->pod.id, "pod");
  ASSERT_EQ((*event)->pod->containers.size(), 1u);
  EXPECT_EQ((*event)->pod->containers[0].id, "mine");
  event = (*subscription)->Next(0);
  ASSERT_TRUE(event.ok() && *event);
  EXPECT_FALSE((*event)->pod);
  EXPECT_GT((*event)->timestamp_ns, 0);
}

TEST_F(EventsTest, OneThatFallsBehindIsEndedAndTheOthersAreNot) {
  auto slow = bus_.Subscribe();
  auto quick = bus_.Subscribe();
  ASSERT_TRUE(slow.ok() && quick.ok());
  for (size_t i = 0; i <= EventBus::kMaxQueued; ++i) {
    bus_.Publish(pod_, "c", {EventType::kStarted});
    auto event = (*quick)->Next(0);
    ASSERT_TRUE(event.ok() && *event) << i;
  }
  EXPECT_EQ((*slow)->Next(0).code(), Code::kResourceExhausted);
  bus_.Publish(pod_, "c", {EventType::kStopped});
  EXPECT_EQ((*slow)->Next(0).code(), Code::kResourceExhausted);
  EXPECT_EQ((*(*quick)->Next(0))->type, EventType::kStopped);
}

TEST_F(EventsTest, AFullQueueIsNoOverflow) {
  auto subscription = bus_.Subscribe();
  ASSERT_TRUE(subscription.ok());
  for (size_t i = 0; i < EventBus::kMaxQueued; ++i) {
    bus_.Publish(pod_, "c", {EventType::kStarted});
  }
  for (size_t i = 0; i < EventBus::kMaxQueued; ++i) {
    auto event = (*subscription)->Next(0);
    ASSERT_TRUE(event.ok() && *event) << i;
  }
}

TEST_F(EventsTest, ThereIsRoomForMoreOnceASubscriberHasGone) {
  std::vector<std::unique_ptr<EventBus::Subscription>> all;
  for (size_t i = 0; i < EventBus::kMaxSubscribers; ++i) {
    auto subscription = bus_.Subscribe();
    ASSERT_TRUE(subscription.ok());
    all.push_back(std::move(*subscription));
  }
  EXPECT_EQ(bus_.Subscribe().code(), Code::kResourceExhausted);
  all.pop_back();
  EXPECT_TRUE(bus_.Subscribe().ok());
}

TEST_F(EventsTest, NextWakesForAnEvent) {
  auto subscription = bus_.Subscribe();
  ASSERT_TRUE(subscription.ok());
  std::thread publisher([&] { bus_.Publish(pod_, "c", {EventType::kStarted}); });
  const int64_t begin_ns = MonotonicNs();
  auto event = (*subscription)->Next(60'000);
  publisher.join();
  ASSERT_TRUE(event.ok() && *event);
  EXPECT_LT(MonotonicNs() - begin_ns, 30'000'000'000);
}

// Two containers that are never both running: a snapshot must not show what never was.
TEST_F(EventsTest, ASnapshotIsOfOneMoment) {
  auto a = Add("a", "pod", ContainerPhase::kRunning);
  auto b = Add("b", "pod", ContainerPhase::kRunning);
  auto set = [](ContainerEntry& entry, ContainerState state) {
    entry.Update([&](ContainerRecord& record) { record.container.state = state; });
  };
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    while (!stop) {
      set(*a, ContainerState::kRunning);
      set(*a, ContainerState::kExited);
      set(*b, ContainerState::kRunning);
      set(*b, ContainerState::kExited);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  for (int i = 0; i < 2000; ++i) {
    const PodSnapshot snapshot = TakePodSnapshot(index_, *pod_);
    ASSERT_EQ(snapshot.containers.size(), 2u);
    EXPECT_FALSE(snapshot.containers[0].state == ContainerState::kRunning &&
                 snapshot.containers[1].state == ContainerState::kRunning);
  }
  stop = true;
  changer.join();
}

}  // namespace
}  // namespace berth::runtime
