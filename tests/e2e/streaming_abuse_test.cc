// The streaming server against clients that break off, say nothing or say nonsense.
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "cri/stream/spdy_frame.h"
#include "tests/e2e/streaming_test.h"

namespace berth::e2e {
namespace {

using testing::ConnectTcp;
using testing::ExchangeBytes;
using testing::ParseUrl;

class StreamingAbuse : public Streaming {
 protected:
  struct Usage {
    size_t descriptors = 0, threads = 0;
    long resident_kib = 0;
  };
  static void AddUsage(std::string_view pid, Usage& usage) {
    std::error_code gone;
    const std::filesystem::directory_iterator fds(StrCat("/proc/", pid, "/fd"), gone);
    auto text = ReadFile(StrCat("/proc/", pid, "/status"));
    if (gone || !text.ok()) return;
    usage.descriptors += static_cast<size_t>(std::distance(begin(fds), end(fds)));
    usage.threads += ParseNumber<size_t>(Trim(Field(*text, "Threads"))).value_or(0);
    usage.resident_kib +=
        ParseNumber<long>(Trim(Split(Trim(Field(*text, "VmRSS")), ' ')[0])).value_or(0);
  }
  Usage OfDaemon() {
    Usage usage;
    AddUsage(StrCat(node().daemon_pid()), usage);
    return usage;
  }
  // Of all shims together, which are the daemon's children.
  Usage OfShims() {
    Usage usage;
    const std::string tasks = StrCat("/proc/", node().daemon_pid(), "/task");
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      auto children = ReadFile(task.path().string() + "/children");
      if (!children.ok()) continue;
      for (std::string_view pid : Split(Trim(*children), ' ')) {
        if (!pid.empty()) AddUsage(pid, usage);
      }
    }
    return usage;
  }
  // Waits until sessions have ended: nothing is more than it was, but for the memory's slack.
  static void ExpectAsBefore(const Usage& before, const std::function<Usage()>& measure,
                             long slack_kib) {
    Usage now = measure();
    auto is_calm = [&] {
      return now.descriptors <= before.descriptors && now.threads <= before.threads &&
             now.resident_kib <= before.resident_kib + slack_kib;
    };
    for (int i = 0; i < 200 && !is_calm(); ++i) {
      usleep(50'000);
      now = measure();
    }
    EXPECT_LE(now.descriptors, before.descriptors);
    EXPECT_LE(now.threads, before.threads);
    EXPECT_LE(now.resident_kib, before.resident_kib + slack_kib);
  }
  std::string Origin() {
    auto url = ExecUrl({"true"});
    EXPECT_OK(url);
    return url.ok() ? url->substr(0, url->rfind("/exec/")) : "";
  }
};

// Sessions broken off at every stage, in turn.
TEST_F(StreamingAbuse, AbortedSessionsLeaveNothing) {
  constexpr int kSessions = 1000;
  rt::ContainerConfig config = ShellConfig("while true; do echo x; sleep 0.1; done", "chatty");
  config.set_stdin(true);
  auto chatty = RunContainer(pod_, config);
  ASSERT_OK(chatty);
  auto session = [&](int i) {
    const WantedStreams wanted = {.in = true};
    switch (i % 5) {
      case 0: {  // before the streams
        auto client = Spdy(ExecUrl({"cat"}));
        return;
      }
      case 1: {  // while it runs
        auto client = Spdy(ExecUrl({"sh", "-c", "echo up; sleep 4250"}, wanted));
        if (client == nullptr) return;
        const CommandStreams streams = OpenCommandStreams(*client, wanted);
        EXPECT_OK(client->ReadUntil([&] { return !client->stream(streams.out).data.empty(); }));
        return;
      }
      case 2: {  // attached
        auto client = Spdy(AttachUrl(*chatty, wanted));
        if (client != nullptr) OpenCommandStreams(*client, wanted);
        return;
      }
      case 3: {  // to a closed port
        auto client = Spdy(ForwardUrl(pod_), 0);
        if (client != nullptr) Forward(*client, 9, 0);
        return;
      }
      default: {  // a terminal for what is not there
        const WantedStreams terminal = {.in = true, .err = false, .resize = true};
        auto client = Spdy(ExecUrl({"no-such-program"}, terminal, true));
        if (client != nullptr) OpenCommandStreams(*client, terminal);
      }
    }
  };
  for (int i = 0; i < 50; ++i) session(i);
  usleep(2'500'000);
  const Usage daemon = OfDaemon();
  const Usage shims = OfShims();
  EXPECT_GE(shims.threads, 2U);
  for (int i = 0; i < kSessions; ++i) session(i);
  // The allocator keeps what many threads at once have needed, in arenas of each; a leak of 3 KiB a
  // session would be seen. The shims have one thread and reuse their heaps: half a KiB would be.
  ExpectAsBefore(
      daemon, [&] { return OfDaemon(); }, 3 << 10);
  ExpectAsBefore(
      shims, [&] { return OfShims(); }, 512);
  EXPECT_EQ(ShellIn(container_, "pidof cat sleep | wc -w"), "1\n");  // the container's own sleep
}

TEST_F(StreamingAbuse, WrongTokensGarbageAndBombsGetAnAnswerAndNoMore) {
  const std::string origin = Origin();
  auto answer = [&](const std::string& bytes) {
    auto text = ExchangeBytes(origin + "/", bytes);
    EXPECT_OK(text);
    return text.ok() ? text->substr(0, text->find('\r')) : "";
  };
  EXPECT_EQ(answer("GET /exec/0000 HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(answer("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(answer("GET /exec/../../x HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(answer("garbage garbage\r\n\r\n"), "HTTP/1.1 400 Bad Request");
  EXPECT_EQ(answer("GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x')),
            "HTTP/1.1 431 Request Header Fields Too Large");
  auto url = ExecUrl({"true"});
  ASSERT_OK(url);
  // A token for one verb is none for another, and is spent.
  const std::string token = url->substr(url->rfind('/') + 1);
  EXPECT_EQ(answer(StrCat("GET /attach/", token, " HTTP/1.1\r\n\r\n")), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(answer(StrCat("GET /exec/", token, " HTTP/1.1\r\n\r\n")), "HTTP/1.1 404 Not Found");
}

TEST_F(StreamingAbuse, SilentConnectionsAreClosedAndDoNotKeepOthersOut) {
  auto parts = ParseUrl(Origin() + "/");
  ASSERT_OK(parts);
  const size_t before = DaemonDescriptors();
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 300; ++i) {
    auto fd = ConnectTcp(*parts);
    ASSERT_OK(fd);
    (void)!write(fd->get(), "GET /exec/", 10);
    silent.push_back(std::move(*fd));
  }
  auto shown = RunScript("echo still here");
  ASSERT_OK(shown);
  EXPECT_EQ(shown->out, "still here\n");
  EXPECT_LE(DaemonDescriptors(), before + 120);
  // The time for a request is 10 s.
  usleep(11'500'000);
  EXPECT_LE(DaemonDescriptors(), before + 3);
}

TEST_F(StreamingAbuse, ASessionThatBreaksTheProtocolEndsAlone) {
  auto healthy = Spdy(ExecUrl({"cat"}, {.in = true}));
  ASSERT_NE(healthy, nullptr);
  const CommandStreams streams = OpenCommandStreams(*healthy, {.in = true});
  std::string giant;
  cri::stream::AppendSpdyControl(giant, cri::stream::SpdyType::kSynStream, 0, {1},
                                 std::string(6, '\0') + std::string(60'000, 'x'));
  for (const std::string& bytes :
       {std::string("\0\0\0\1\0\xff\xff\xff", 8), std::string(200'000, '\xee'), giant}) {
    auto client = Spdy(ExecUrl({"cat"}));
    ASSERT_NE(client, nullptr);
    (void)client->SendBytes(bytes);
    const berth::Status status = client->ReadUntil([] { return false; }, 10'000);
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_TRUE(client->gone_away());
  }
  ASSERT_OK(healthy->Send(streams.in, "alive"));
  EXPECT_OK(healthy->ReadUntil([&] { return healthy->stream(streams.out).data == "alive"; }));
}

TEST_F(StreamingAbuse, StoppingTheContainerEndsItsSessions) {
  auto client = Spdy(ExecUrl({"sleep", "1000"}));
  ASSERT_NE(client, nullptr);
  const CommandStreams streams = OpenCommandStreams(*client, {});
  ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.err).replied; }));
  usleep(300'000);
  ASSERT_OK(Stop(container_));
  ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
  EXPECT_NE(client->stream(streams.error).data.find("137"), std::string::npos)
      << client->stream(streams.error).data;
}

}  // namespace
}  // namespace berth::e2e
