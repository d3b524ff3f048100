// The berth command against a real daemon, as a user types it.
#include <signal.h>
#include <unistd.h>

#include "base/json.h"
#include "base/strings.h"
#include "tests/e2e/berth_command.h"

namespace berth::e2e {
namespace {

class BerthCommand : public BerthCommandTest {
 protected:
  size_t PodCount() {
    auto pods = cri().Call(rt::ListPodSandboxRequest());
    EXPECT_OK(pods);
    return pods.ok() ? static_cast<size_t>(pods->items_size()) : 0;
  }
};

TEST_F(BerthCommand, RunShowsOutputAndPassesTheExitCodeOn) {
  const RunOutput output =
      Berth({"run", "--rm", "-e", "A=b", "-e", "FROM_HERE", "--workdir", "/tmp", "--user", "1000",
             image(), "sh", "-c", "echo $A $FROM_HERE; pwd; id -u; echo oops >&2; exit 5"});
  EXPECT_EQ(output.exit_code, 5) << output.err;
  EXPECT_EQ(output.out, "b env\n/tmp\n1000\n");
  EXPECT_EQ(output.err, "oops\n");
  EXPECT_EQ(PodCount(), 0u);
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

TEST_F(BerthCommand, DetachedLifeCycle) {
  RunOutput output = Berth({"run", "-d", "--name", "web", image(), "sh", "-c",
                            "echo one; echo two; trap 'exit 0' TERM; while :; do sleep 0.1; done"});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  const std::string id(Trim(output.out));
  EXPECT_EQ(id.size(), 64u);
  ASSERT_TRUE(AwaitLog(id, "two"));
  EXPECT_NE(Berth({"ps"}).out.find("web"), std::string::npos);
  EXPECT_NE(Berth({"pods"}).out.find("10.201."), std::string::npos);
  EXPECT_EQ(Berth({"logs", "web"}).out, "one\ntwo\n");
  EXPECT_EQ(Berth({"logs", "--tail", "1", id.substr(0, 8)}).out, "two\n");
  EXPECT_NE(Berth({"logs", "-t", "web"}).out.find("Z one\n"), std::string::npos);
  output = Berth({"exec", "web", "sh", "-c", "echo in; echo err >&2; exit 3"});
  EXPECT_EQ(output.exit_code, 3);
  EXPECT_EQ(output.out, "in\n");
  EXPECT_EQ(output.err, "err\n");
  output = Berth({"exec", "-i", "web", "sh", "-c", "echo streamed; echo err >&2; cat; exit 4"});
  EXPECT_EQ(output.exit_code, 4) << output.err;
  EXPECT_EQ(output.out, "streamed\n");
  EXPECT_EQ(output.err, "err\n");
  EXPECT_EQ(Berth({"exec", "-i", "web", "no-such-program"}).exit_code, 127);
  EXPECT_NE(Berth({"exec", "-t", "web", "true"}).err.find("not a terminal"), std::string::npos);
  EXPECT_NE(Berth({"stats"}).out.find("web"), std::string::npos);
  EXPECT_EQ(Berth({"rm", "web"}).exit_code, 1);
  EXPECT_EQ(Berth({"stop", "web"}).exit_code, 0);
  EXPECT_EQ(Berth({"ps"}).out.find("web"), std::string::npos);
  EXPECT_NE(Berth({"ps", "-a"}).out.find("exited"), std::string::npos);
  EXPECT_EQ(Berth({"rm", "web"}).exit_code, 0);
  EXPECT_EQ(PodCount(), 0u);
}

TEST_F(BerthCommand, InterruptStopsTheContainer) {
  auto child = Spawn(Command(
      {"run", "--rm", image(), "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done"}));
  ASSERT_OK(child);
  for (int i = 0; i < 100; ++i) {
    auto list = cri().Call(rt::ListContainersRequest());
    ASSERT_OK(list);
    if (list->containers_size() == 1 && list->containers(0).state() == rt::CONTAINER_RUNNING) {
      break;
    }
    usleep(50'000);
  }
  usleep(300'000);  // the shell sets its trap
  ASSERT_EQ(kill(child->pid(), SIGINT), 0);
  auto code = child->Wait(Context::WithTimeoutMs(20'000));
  ASSERT_OK(code);
  EXPECT_EQ(*code, 4);
  EXPECT_EQ(PodCount(), 0u);
}

// Without -i it is ExecSync, and without --timeout a call that ends with its client only.
TEST_F(BerthCommand, AnExecWhoseClientHasGoneIsKilled) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  auto client = Spawn(Command({"exec", *container, "sh", "-c", "sleep 4245"}));
  ASSERT_OK(client);
  auto runs = [&] { return ShellIn(*container, "ps | grep -c '[s]leep 4245' || true"); };
  for (int i = 0; i < 100 && runs() == "0\n"; ++i) usleep(20'000);
  ASSERT_NE(runs(), "0\n");
  client->KillAndReap();
  for (int i = 0; i < 100 && runs() != "0\n"; ++i) usleep(20'000);
  EXPECT_EQ(runs(), "0\n");
}

TEST_F(BerthCommand, JsonIsJson) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"info", "--output", "json"},
                                               {"version", "-o", "json"},
                                               {"images", "-o", "json"},
                                               {"ps", "-a", "-o", "json"},
                                               {"pods", "-o", "json"},
                                               {"stats", "-o", "json"}}) {
    const RunOutput output = Berth(args);
    EXPECT_EQ(output.exit_code, 0) << args[0] << output.err;
    EXPECT_OK(ParseJson(output.out));
  }
  EXPECT_NE(Berth({"images"}).out.find("test/busybox"), std::string::npos);
}

TEST_F(BerthCommand, ErrorsAreOneLine) {
  RunOutput output = Berth({"run", "--rm", image(), "no-such-program"});
  EXPECT_EQ(output.exit_code, 125);
  EXPECT_TRUE(output.err.starts_with("berth: ")) << output.err;
  EXPECT_NE(output.err.find("no-such-program"), std::string::npos) << output.err;
  EXPECT_EQ(output.err.find('\n'), output.err.size() - 1) << output.err;
  EXPECT_EQ(PodCount(), 0u);
  EXPECT_EQ(Berth({"stop", "nobody"}).exit_code, 1);
  EXPECT_EQ(Berth({"frobnicate"}).exit_code, 2);
  EXPECT_EQ(Berth({"run", "-p", "x", image()}).exit_code, 2);
  EXPECT_EQ(Berth({"rmi", "no/such:1"}).exit_code, 1);
  EXPECT_EQ(Berth({"pods", "--address", "unix:///no/such.sock"}).exit_code, 1);
}

TEST_F(BerthCommand, VolumesAndLimits) {
  const RunOutput output = Berth({"run", "--rm", "--read-only", "--memory", "64m", "--cpus", "0.5",
                                  "-v", "/etc:/host-etc:ro", image(), "sh", "-c",
                                  "ls /host-etc/passwd; touch /x 2>/dev/null || echo read-only"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, "/host-etc/passwd\nread-only\n");
}

}  // namespace
}  // namespace berth::e2e
