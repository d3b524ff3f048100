#include "runtime/state.h"

#include <gtest/gtest.h>

#include <new>
#include <thread>

#include "runtime/index.h"

namespace berth::runtime {
namespace {

TEST(Operation, AWaiterLearnsWhoHoldsIt) {
  Operation operation;
  auto first = operation.Begin(Context::Background(), "StartContainer");
  ASSERT_TRUE(first.ok());
  auto second = operation.Begin(Context::WithTimeoutMs(20), "StopContainer");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.code(), Code::kDeadlineExceeded);
  EXPECT_NE(second.error().message().find("StartContainer"), std::string::npos);
}

TEST(Operation, ItIsFreeAfterTheGuard) {
  Operation operation;
  { auto guard = operation.Begin(Context::Background(), "StartContainer"); }
  EXPECT_TRUE(operation.Begin(Context::WithTimeoutMs(20), "StopContainer").ok());
}

TEST(Operation, OneAtATime) {
  Operation operation;
  int inside = 0;
  int most = 0;
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        auto guard = operation.Begin(Context::Background(), "verb");
        most = std::max(most, ++inside);
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
}

TEST(Creation, JoinersGetTheResult) {
  Creation creation;
  Status joined;
  std::thread joiner([&] { joined = creation.Wait(Context::Background()); });
  creation.Finish(Error(Code::kUnavailable, "no network"));
  joiner.join();
  ASSERT_FALSE(joined.ok());
  EXPECT_EQ(joined.error().message(), "no network");
}

TEST(Creation, AJoinerMayGiveUp) {
  Creation creation;
  EXPECT_EQ(creation.Wait(Context::WithTimeoutMs(10)).code(), Code::kDeadlineExceeded);
}

TEST(Creation, ARemoverWaitsForItsEndWhateverThatIs) {
  Creation creation;
  EXPECT_EQ(creation.AwaitEnd(Context::WithTimeoutMs(10)).code(), Code::kDeadlineExceeded);
  creation.Finish(Error(Code::kUnavailable, "no network"));
  EXPECT_TRUE(creation.AwaitEnd(Context::WithTimeoutMs(10)).ok());
}

TEST(Entry, WaitUntilSeesTheChange) {
  ContainerEntry entry(ContainerRecord{});
  std::thread changer(
      [&] { entry.Update([](ContainerRecord& r) { r.phase = ContainerPhase::kExited; }); });
  EXPECT_TRUE(entry.WaitUntil(Context::WithTimeoutMs(5000), [](const ContainerRecord& r) {
    return r.phase == ContainerPhase::kExited;
  }));
  changer.join();
  EXPECT_FALSE(entry.WaitUntil(Context::WithTimeoutMs(10), [](const ContainerRecord& r) {
    return r.phase == ContainerPhase::kRunning;
  }));
}

std::shared_ptr<PodEntry> NewPod(const std::string& id) {
  PodRecord record;
  record.pod.id = id;
  return std::make_shared<PodEntry>(record);
}

TEST(Table, AKeyIsGivenOnce) {
  Table<PodEntry> table;
  const std::string key = PodKey({"web", "uid", "default", 0});
  EXPECT_TRUE(table.Reserve(key, "a1", NewPod("a1")).is_new);
  auto second = table.Reserve(key, "b2", NewPod("b2"));
  EXPECT_FALSE(second.is_new);
  EXPECT_EQ(second.entry->Get().pod.id, "a1");
  EXPECT_EQ(table.Find("b2"), nullptr);
  table.Remove("a1");
  EXPECT_TRUE(table.Reserve(key, "b2", NewPod("b2")).is_new);
}

TEST(CreationGuard, AnExceptionEndsTheCreationAndFreesTheName) {
  Table<PodEntry> table;
  const std::string key = PodKey({"web", "uid", "default", 0});
  auto reserved = table.Reserve(key, "a1", NewPod("a1"));
  try {
    const CreationGuard guard(table, "a1", reserved.entry);
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
  }
  EXPECT_EQ(reserved.entry->creation.Wait(Context::WithTimeoutMs(10)).code(), Code::kInternal);
  EXPECT_TRUE(table.Reserve(key, "b2", NewPod("b2")).is_new);
}

TEST(CreationGuard, WhatIsFinishedStays) {
  Table<PodEntry> table;
  auto reserved = table.Reserve("key", "a1", NewPod("a1"));
  {
    const CreationGuard guard(table, "a1", reserved.entry);
    reserved.entry->creation.Finish(Ok());
  }
  EXPECT_EQ(table.Find("a1"), reserved.entry);
  EXPECT_TRUE(reserved.entry->creation.Wait(Context::WithTimeoutMs(10)).ok());
}

TEST(Table, PrefixesFindOneOrNothing) {
  Table<PodEntry> table;
  table.Reserve("1", "abc1", NewPod("abc1"));
  table.Reserve("2", "abc2", NewPod("abc2"));
  table.Reserve("3", "abc", NewPod("abc"));
  EXPECT_EQ(table.Find("abc1")->Get().pod.id, "abc1");
  EXPECT_EQ(table.Find("abc")->Get().pod.id, "abc");  // whole id before prefix
  EXPECT_EQ(table.Find("ab"), nullptr);
  EXPECT_EQ(table.Find(""), nullptr);
  EXPECT_EQ(table.Find("x"), nullptr);
}

TEST(Keys, PartsDoNotRunIntoEachOther) {
  EXPECT_NE(PodKey({"a", "b", "cd", 0}), PodKey({"a", "bc", "d", 0}));
  EXPECT_NE(ContainerKey("pod", {"x", 1}), ContainerKey("pod", {"x1", 0}));
}

TEST(Labels, EveryWantedOneMustMatch) {
  EXPECT_TRUE(LabelsMatch({{"a", "1"}, {"b", "2"}}, {{"a", "1"}}));
  EXPECT_TRUE(LabelsMatch({}, {}));
  EXPECT_FALSE(LabelsMatch({{"a", "1"}}, {{"a", "2"}}));
  EXPECT_FALSE(LabelsMatch({{"a", "1"}}, {{"b", "1"}}));
}

}  // namespace
}  // namespace berth::runtime
