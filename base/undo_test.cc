#include "base/undo.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(UndoTest, StepsRunInReverseUnlessCommitted) {
  std::string order;
  {
    UndoStack undo;
    undo.Add("first", [&] { return order += '1', Ok(); });
    undo.Add("second", [&] { return order += '2', Ok(); });
  }
  EXPECT_EQ(order, "21");
  UndoStack committed;
  committed.Add("third", [&] { return order += '3', Ok(); });
  committed.Commit();
  EXPECT_TRUE(committed.Run().ok());
  EXPECT_EQ(order, "21");
}

TEST(UndoTest, EveryStepRunsAndAllFailuresAreTold) {
  std::string order;
  UndoStack undo;
  undo.Add("mount", [&] { return order += '1', Status(Error(Code::kNotFound, "gone")); });
  undo.Add("file", [&] { return order += '2', Ok(); });
  undo.Add("limit", [&] { return order += '3', Status(Error(Code::kUnavailable, "busy")); });
  const Error error = undo.Fail(Error(Code::kInvalidArgument, "bad value"));
  EXPECT_EQ(order, "321");
  EXPECT_EQ(error.code(), Code::kInvalidArgument);
  EXPECT_EQ(error.message(), "bad value; and undo limit: busy; undo mount: gone");
  EXPECT_EQ(undo.Fail(Error(Code::kInternal, "again")).message(), "again");
}

}  // namespace
}  // namespace berth
