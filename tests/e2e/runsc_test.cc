// gVisor's OCI runtime, where it is installed: Debian has no package of it. Its kernel is its own,
// so that what the other OCI runtimes have to show (handlers_test.cc) holds for it in part.
#include <unistd.h>

#include "tests/e2e/berth_command.h"

namespace berth::e2e {
namespace {

class Runsc : public BerthCommandTest {
 protected:
  void SetUp() override {
    std::string path;
    for (const char* place : {"/usr/local/bin/runsc", "/usr/bin/runsc"}) {
      if (access(place, X_OK) == 0) path = place;
    }
    if (path.empty()) GTEST_SKIP() << "runsc is not installed";
    BerthCommandTest::SetUp();
    NodeOptions options;
    options.config = StrCat("[runtime_handlers.gvisor]\ntype = \"oci\"\npath = \"", path, "\"\n");
    auto node = Node::Start(options);
    ASSERT_OK(node);
    node_ = std::move(*node);
    ASSERT_EQ(BerthThere({"pull", image()}).exit_code, 0);
  }

  RunOutput BerthThere(std::vector<std::string> args) {
    SpawnOptions command = Command(std::move(args));
    command.env[1] = StrCat("BERTH_ADDRESS=unix://", node_->socket());
    auto ran = RunProgram(Context::WithTimeoutMs(60'000), command, "");
    EXPECT_OK(ran);
    return ran.ok() ? *ran : RunOutput{-1, "", ""};
  }

  std::unique_ptr<Node> node_;
};

TEST_F(Runsc, OutputAndExitCodeOfAContainer) {
  const RunOutput ran = BerthThere({"run", "--rm", "--runtime", "gvisor", image(), "sh", "-c",
                                    "echo out; echo err >&2; exit 7"});
  EXPECT_EQ(ran.exit_code, 7) << ran.err;
  EXPECT_EQ(ran.out, "out\n");
  EXPECT_EQ(ran.err, "err\n");
  EXPECT_EQ(node_->Remains(), std::vector<std::string>());
}

TEST_F(Runsc, ExecStopAndRemoval) {
  const RunOutput ran = BerthThere(
      {"run", "-d", "--name", "shut-in", "--runtime", "gvisor", image(), "sleep", "1000"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const RunOutput inside = BerthThere({"exec", "shut-in", "sh", "-c", "echo in; exit 3"});
  EXPECT_EQ(inside.out, "in\n");
  EXPECT_EQ(inside.exit_code, 3) << inside.err;
  EXPECT_EQ(BerthThere({"stop", "--timeout", "1", "shut-in"}).exit_code, 0);
  EXPECT_EQ(BerthThere({"rm", "shut-in"}).exit_code, 0);
  EXPECT_EQ(node_->Remains(), std::vector<std::string>());
}

}  // namespace
}  // namespace berth::e2e
