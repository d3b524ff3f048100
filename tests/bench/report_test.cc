#include "tests/bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ReportTest, RatioIsFirstOverSecond) {
  Report report({"a", "b"});
  report.At("Pods", "up", "ms", "b").samples.Add(40);
  report.At("Pods", "up", "ms", "a").samples.Add(10);
  Json json = report.ToJson();
  ASSERT_EQ(json["rows"].size(), 1U);
  EXPECT_DOUBLE_EQ(json["rows"][0]["ratio"].get<double>(), 0.25);
  EXPECT_EQ(json["rows"][0]["results"]["b"]["n"], 1);
  EXPECT_THAT(report.Table(), HasSubstr("0.250"));
  EXPECT_DOUBLE_EQ(report.P50("Pods", "up", "a"), 10);
}

TEST(ReportTest, ACellWithoutFiguresSaysWhy) {
  Report report({"a", "b"});
  report.At("Lists", "stats", "ms", "a").note = "unimplemented";
  report.At("Lists", "stats", "ms", "b").samples.Add(3);
  EXPECT_THAT(report.Table(), HasSubstr("unimplemented"));
  EXPECT_FALSE(report.ToJson()["rows"][0].contains("ratio"));
  EXPECT_EQ(report.P50("Lists", "stats", "a"), 0);
}

TEST(ReportTest, FailuresShowInBothForms) {
  Report report({"a"});
  EXPECT_FALSE(report.failed());
  EXPECT_THAT(report.Table(), Not(HasSubstr("NOT MEASURED")));
  report.AddFailure("pull: refused");
  EXPECT_TRUE(report.failed());
  EXPECT_THAT(report.Table(), HasSubstr("NOT MEASURED: pull: refused"));
  EXPECT_EQ(report.ToJson()["failures"][0], "pull: refused");
}

}  // namespace
}  // namespace berth::bench
