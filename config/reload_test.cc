#include "config/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "config/live.h"

namespace berth::config {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Lines(const std::vector<Change>& changes) {
  std::vector<std::string> lines;
  lines.reserve(changes.size());
  for (const Change& change : changes) {
    lines.push_back(StrCat(change.key, ": ", change.before, " -> ", change.after,
                           change.is_live ? "" : " (restart)"));
  }
  return lines;
}

TEST(Reload, NothingChanged) {
  EXPECT_THAT(Differences(Config(), Config()), IsEmpty());
}

TEST(Reload, EachChangeIsNamedWithItsValues) {
  Config after;
  after.log_level = 1;
  after.root = "/data";
  after.image.pinned = {"a", "b"};
  after.runtime_handlers["runc"] = {"oci", "/usr/sbin/runc", {}};
  EXPECT_THAT(Lines(Differences(Config(), after)),
              ElementsAre("image.pinned: [] -> [\"a\",\"b\"]", "log_level: 0 -> 1",
                          "root: \"/var/lib/berth\" -> \"/data\" (restart)",
                          "runtime_handlers.runc.arguments:  -> []",
                          "runtime_handlers.runc.path:  -> \"/usr/sbin/runc\"",
                          "runtime_handlers.runc.type:  -> \"oci\""));
}

TEST(Reload, WhatNeedsARestartStays) {
  Config before, after;
  before.runtime_handlers["old"] = {};
  after.log_level = 2;
  after.state = "/run/other";
  after.cni.bin_dirs = {"/bin"};
  after.cni.cache_dir = "/cache";
  after.runtime.rlimit_nofile_soft = 4096;
  after.streaming.port = 1;
  const Config taken = TakeLive(before, after);
  EXPECT_EQ(taken.log_level, 2);
  EXPECT_EQ(taken.state, before.state);
  EXPECT_THAT(taken.cni.bin_dirs, ElementsAre("/bin"));
  EXPECT_EQ(taken.cni.cache_dir, "");
  EXPECT_EQ(taken.runtime.rlimit_nofile_soft, 4096u);
  EXPECT_EQ(taken.streaming.port, 0);
  EXPECT_TRUE(taken.runtime_handlers.empty());
  // What is left of the difference is what the restart is for.
  for (const Change& change : Differences(taken, after)) EXPECT_FALSE(change.is_live) << change.key;
}

TEST(LiveConfig, WhoHasItKeepsIt) {
  Config first;
  first.log_level = 1;
  LiveConfig live(first);
  const auto kept = live.Get();
  live.Set(Config());
  EXPECT_EQ(kept->log_level, 1);
  EXPECT_EQ(live->log_level, 0);
}

}  // namespace
}  // namespace berth::config
