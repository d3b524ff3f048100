#include "cli/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/testing/temp_dir.h"

namespace berth::cli {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;

auto Is(const std::string& what, Level level) {
  return AllOf(Field(&Finding::what, what), Field(&Finding::level, level));
}

TEST(Check, TextAndJsonSayTheSame) {
  const Findings findings = {{"kernel", Level::kOk, "6.1", ""},
                             {"clock", Level::kWarning, "not\nset", "set it"},
                             {"overlayfs", Level::kProblem, "none", "get one"}};
  EXPECT_EQ(FindingsText(findings),
            "ok       kernel     6.1\n"
            "warning  clock      not\\x0aset\n"
            "                    -> set it\n"
            "problem  overlayfs  none\n"
            "                    -> get one\n"
            "1 problems, 1 warnings\n");
  const Json json = FindingsJson(findings);
  EXPECT_EQ(json[1]["level"], "warning");
  EXPECT_EQ(json[2]["advice"], "get one");
  EXPECT_TRUE(HasProblem(findings));
  EXPECT_FALSE(HasProblem({findings[0], findings[1]}));
}

TEST(Check, AProbeIsAChild) {
  const pid_t self = getpid();
  EXPECT_EQ(Try([&] { return getpid() == self ? 1 : 0; }), 0);
  EXPECT_EQ(Try([] { return 42; }), 42);
  EXPECT_EQ(Try([] { return raise(SIGKILL); }), EIO);
}

TEST(Check, EveryAdviceHasACauseAndEveryCauseAnAdvice) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  testing::TempDir dir;
  config::Config config;
  config.root = dir / "not/there/yet";
  Findings findings;
  CheckKernel(findings);
  CheckCgroups(config, findings);
  CheckStorage(config, findings);
  CheckNetwork(config, findings);
  EXPECT_GT(findings.size(), 15u);
  for (const Finding& finding : findings) {
    EXPECT_NE(finding.found, "") << finding.what;
    EXPECT_EQ(finding.advice.empty(), finding.level == Level::kOk) << finding.what;
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Check, CniPluginsThatAreNotThereAreNamed) {
  testing::TempDir dir;
  config::Config config;
  config.cni.conf_dir = dir.path();
  config.cni.bin_dirs = {dir.path()};
  Findings none;
  CheckNetwork(config, none);
  EXPECT_THAT(none, Contains(Is("CNI", Level::kWarning)));
  std::ofstream(dir / "10-a.conflist")
      << R"({"name":"n","plugins":[{"type":"bridge","ipam":{"type":"host-local"}}]})";
  Findings findings;
  CheckNetwork(config, findings);
  EXPECT_THAT(findings, Contains(AllOf(Is("CNI", Level::kProblem),
                                       Field(&Finding::found, HasSubstr("bridge, host-local")))));
  std::ofstream(dir / "00-b.conf") << "{";
  Findings broken;
  CheckNetwork(config, broken);
  EXPECT_THAT(broken, Contains(AllOf(Is("CNI", Level::kProblem),
                                     Field(&Finding::found, HasSubstr("00-b.conf")))));
}

TEST(Check, ADriverThatTheMachineCannotHaveIsAProblem) {
  if (access("/run/systemd/private", F_OK) == 0) GTEST_SKIP() << "systemd runs here";
  config::Config config;
  config.cgroup.driver = "systemd";
  Findings findings;
  CheckCgroups(config, findings);
  EXPECT_THAT(findings, Contains(Is("cgroup driver", Level::kProblem)));
}

}  // namespace
}  // namespace berth::cli
