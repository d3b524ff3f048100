// Exec over SPDY and WebSocket.
#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/streaming_test.h"

namespace berth::e2e {
namespace {

class ExecStream : public Streaming {};

TEST_F(ExecStream, OutputOfBothStreamsAndSuccess) {
  auto shown = RunScript("echo out; echo err >&2");
  ASSERT_OK(shown);
  EXPECT_EQ(shown->out, "out\n");
  EXPECT_EQ(shown->err, "err\n");
  EXPECT_NE(shown->status.find("Success"), std::string::npos);
}

TEST_F(ExecStream, TheExitCodeIsInTheStatus) {
  auto shown = RunScript("exit 42");
  ASSERT_OK(shown);
  auto status = ParseJson(shown->status);
  ASSERT_OK(status);
  EXPECT_EQ((*status)["reason"], "NonZeroExitCode");
  EXPECT_EQ((*status)["details"]["causes"][0]["message"], "42");
}

TEST_F(ExecStream, InputEndsWhenTheClientEndsIt) {
  auto shown = RunScript("wc -c", std::string(300'000, 'x'));
  ASSERT_OK(shown);
  EXPECT_EQ(shown->out, "300000\n");
}

TEST_F(ExecStream, InputThatNobodyReadsDoesNotHoldUpTheEnd) {
  auto shown = RunScript("exec <&-; echo done", std::string(200'000, 'x'));
  ASSERT_OK(shown);
  EXPECT_EQ(shown->out, "done\n");
}

TEST_F(ExecStream, MissingAndUnexecutableCommandsAre127And126) {
  for (const auto& [command, code] :
       std::vector<std::pair<std::string, std::string>>{{"no-such-program", "127"},
                                                        {"/no/such", "127"},
                                                        {"/etc/passwd", "126"},
                                                        {"/etc", "126"}}) {
    auto url = ExecUrl({command});
    auto client = Spdy(url);
    ASSERT_NE(client, nullptr);
    const CommandStreams streams = OpenCommandStreams(*client, {});
    ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
    auto status = ParseJson(client->stream(streams.error).data);
    ASSERT_OK(status);
    EXPECT_EQ((*status)["details"]["causes"][0]["message"], code) << command;
    EXPECT_NE(client->stream(streams.err).data.find(command), std::string::npos);
  }
}

TEST_F(ExecStream, OlderProtocolsTellFailureAsText) {
  for (int version : {1, 2, 3}) {
    auto client = Spdy(ExecUrl({"sh", "-c", "exit 3"}), version);
    ASSERT_NE(client, nullptr);
    const CommandStreams streams = OpenCommandStreams(*client, {});
    ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
    EXPECT_EQ(client->stream(streams.error).data, "command terminated with exit code 3");
  }
}

TEST_F(ExecStream, ATerminalHasOneStreamAndTheClientsSize) {
  const WantedStreams wanted = {.in = true, .out = true, .err = false, .resize = true};
  auto client = Spdy(ExecUrl({"sh"}, wanted, /*terminal=*/true));
  ASSERT_NE(client, nullptr);
  const CommandStreams streams = OpenCommandStreams(*client, wanted);
  ASSERT_OK(client->Send(streams.resize, "{\"Width\":123,\"Height\":45}\n"));
  auto& out = client->stream(streams.out);
  ASSERT_OK(client->Send(streams.in, "stty size; test -t 0 && echo is''tty\n"));
  ASSERT_OK(client->ReadUntil([&] { return out.data.find("istty") != std::string::npos; }));
  EXPECT_NE(out.data.find("45 123"), std::string::npos) << out.data;
  ASSERT_OK(client->Send(streams.resize, "{\"Width\":80,\"Height\":24}\n"));
  ASSERT_OK(client->Send(streams.in, "stty size; exit 9\n"));
  ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
  EXPECT_NE(out.data.find("24 80"), std::string::npos) << out.data;
  EXPECT_NE(client->stream(streams.error).data.find("\"9\""), std::string::npos);
}

TEST_F(ExecStream, MuchOutputArrivesWhole) {
  auto client = Spdy(ExecUrl({"sh", "-c", "head -c 200m /dev/zero"}));
  ASSERT_NE(client, nullptr);
  const CommandStreams streams = OpenCommandStreams(*client, {});
  client->CountOnly(streams.out);
  const int64_t begun = MonotonicNs();
  ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
  EXPECT_EQ(client->stream(streams.out).dropped, 200u << 20);
  RecordProperty("mib_per_s", StrCat(200'000'000'000 / (MonotonicNs() - begun)));
}

TEST_F(ExecStream, AClientThatKeepsWindowsGetsAllToo) {
  auto client = Spdy(ExecUrl({"sh", "-c", "head -c 5m /dev/zero"}));
  ASSERT_NE(client, nullptr);
  client->SendWindowUpdates();
  const CommandStreams streams = OpenCommandStreams(*client, {});
  client->CountOnly(streams.out);
  ASSERT_OK(client->ReadUntil([&] { return client->stream(streams.error).ended; }));
  EXPECT_EQ(client->stream(streams.out).dropped, 5u << 20);
}

TEST_F(ExecStream, AClientThatDoesNotReadStopsTheProcessAndNotTheDaemonsMemory) {
  auto url = ExecUrl({"sh", "-c", "yes | head -c 500m"});
  ASSERT_OK(url);
  auto connected = SpdyClient::Connect(*url, {"v4.channel.k8s.io"}, /*small_buffers=*/true);
  ASSERT_OK(connected);
  SpdyClient& client = **connected;
  const CommandStreams streams = OpenCommandStreams(client, {});
  ASSERT_OK(client.ReadUntil([&] { return !client.stream(streams.out).data.empty(); }));
  auto resident_kib = [this] {
    auto text = ReadFile(StrCat("/proc/", node().daemon_pid(), "/status"));
    return text.ok() ? ParseNumber<long>(Trim(Split(Field(*text, "VmRSS"), ' ')[0])).value_or(-1)
                     : -1;
  };
  const long before = resident_kib();
  usleep(700'000);
  EXPECT_LT(resident_kib() - before, 8 << 10);
  // The process waits: it is still there.
  EXPECT_NE(ShellIn(container_, "pidof yes || true"), "");
}

TEST_F(ExecStream, AClientThatGoesEndsTheProcessAndItsChildren) {
  {
    auto client = Spdy(ExecUrl({"sh", "-c", "sleep 4242 & echo up; sleep 4243"}));
    ASSERT_NE(client, nullptr);
    const CommandStreams streams = OpenCommandStreams(*client, {});
    ASSERT_OK(client->ReadUntil([&] { return !client->stream(streams.out).data.empty(); }));
  }
  std::string left = "?";
  for (int i = 0; i < 100 && !left.empty(); ++i) {
    usleep(20'000);
    left = ShellIn(container_, "ps | grep 'sleep 424[23]' || true");
  }
  EXPECT_EQ(left, "");
}

TEST_F(ExecStream, AChildInTheBackgroundDoesNotHoldUpTheEnd) {
  const int64_t begun = MonotonicNs();
  auto shown = RunScript("sleep 100 & echo done");
  ASSERT_OK(shown);
  EXPECT_EQ(shown->out, "done\n");
  EXPECT_LT(MonotonicNs() - begun, 10'000'000'000);
}

TEST_F(ExecStream, PingsAreAnswered) {
  auto client = Spdy(ExecUrl({"sleep", "100"}));
  ASSERT_NE(client, nullptr);
  OpenCommandStreams(*client, {});
  ASSERT_OK(client->Ping(5));
  EXPECT_OK(client->ReadUntil([&] { return client->last_ping() == 5; }));
}

// WebSocket: channel, then data.
struct Received {
  std::string by_channel[5];
};
Received ReceiveAll(WebSocketClient& client) {
  Received received;
  while (true) {
    auto message = client.Receive();
    if (!message.ok()) {
      EXPECT_EQ(message.code(), Code::kOutOfRange) << message.error().message();
      return received;
    }
    if (message->empty() || static_cast<uint8_t>((*message)[0]) > 4) {
      ADD_FAILURE() << "a message of no channel";
      return received;
    }
    received.by_channel[static_cast<uint8_t>((*message)[0])] += message->substr(1);
  }
}

TEST_F(ExecStream, WebSocketOfEveryVersion) {
  for (const char* protocol : {"v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io",
                               "v2.channel.k8s.io", "channel.k8s.io"}) {
    auto url = ExecUrl({"sh", "-c", "echo out; echo err >&2; exit 4"});
    ASSERT_OK(url);
    auto client = WebSocketClient::Connect(*url, protocol);
    ASSERT_OK(client);
    EXPECT_EQ((*client)->protocol(), protocol);
    const Received received = ReceiveAll(**client);
    EXPECT_EQ(received.by_channel[1], "out\n") << protocol;
    EXPECT_EQ(received.by_channel[2], "err\n");
    EXPECT_NE(received.by_channel[3].find("exit code 4"), std::string::npos);
  }
}

TEST_F(ExecStream, WebSocketVersion5EndsInputByASignal) {
  auto url = ExecUrl({"cat"}, {.in = true});
  ASSERT_OK(url);
  auto client = WebSocketClient::Connect(*url, "v5.channel.k8s.io");
  ASSERT_OK(client);
  ASSERT_OK((*client)->SendBinary(std::string("\0hello", 6)));
  ASSERT_OK((*client)->SendBinary(std::string("\xff\0", 2)));
  const Received received = ReceiveAll(**client);
  EXPECT_EQ(received.by_channel[1], "hello");
  EXPECT_NE(received.by_channel[3].find("Success"), std::string::npos);
}

TEST_F(ExecStream, WebSocketInBase64) {
  auto url = ExecUrl({"sh", "-c", "read x; echo got $x"}, {.in = true});
  ASSERT_OK(url);
  auto client = WebSocketClient::Connect(*url, "v4.base64.channel.k8s.io");
  ASSERT_OK(client);
  ASSERT_OK((*client)->SendText("0aGkK"));  // "hi\n"
  std::string out;
  while (out.size() < 8) {
    auto message = (*client)->Receive();
    ASSERT_OK(message);
    if (message->starts_with('1')) out += message->substr(1);
  }
  EXPECT_EQ(out, "Z290IGhpCg==");  // "got hi\n"
}

TEST_F(ExecStream, WebSocketPingsAreAnswered) {
  auto url = ExecUrl({"cat"}, {.in = true});
  ASSERT_OK(url);
  auto client = WebSocketClient::Connect(*url, "v5.channel.k8s.io");
  ASSERT_OK(client);
  ASSERT_OK((*client)->Ping("x"));
  ASSERT_OK((*client)->SendBinary(std::string("\0hello", 6)));
  while ((*client)->pongs() == 0) ASSERT_OK((*client)->Receive());
}

TEST_F(ExecStream, RequestsThatCannotBeMeant) {
  rt::ExecRequest request;
  request.set_container_id(container_);
  request.add_cmd("true");
  EXPECT_FAILS(cri().Call(request), Code::kInvalidArgument, "stdin, stdout, stderr");
  request.set_tty(true);
  request.set_stdout(true);
  request.set_stderr(true);
  EXPECT_FAILS(cri().Call(request), Code::kInvalidArgument, "stderr");
  request.set_stderr(false);
  request.clear_cmd();
  EXPECT_FAILS(cri().Call(request), Code::kInvalidArgument, "cmd");
  request.add_cmd("true");
  request.set_container_id("");
  EXPECT_FAILS(cri().Call(request), Code::kInvalidArgument, "container_id");
  request.set_container_id(std::string(64, '0'));
  EXPECT_FAILS(cri().Call(request), Code::kNotFound, "0000");
  ASSERT_OK(Stop(container_));
  request.set_container_id(container_);
  EXPECT_FAILS(cri().Call(request), Code::kFailedPrecondition, "not running");
}

TEST_F(ExecStream, ATokenIsGoodOnce) {
  auto url = ExecUrl({"true"});
  ASSERT_OK(url);
  auto first = SpdyClient::Connect(*url, {"v4.channel.k8s.io"});
  ASSERT_OK(first);
  auto second = SpdyClient::Connect(*url, {"v4.channel.k8s.io"});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message().find("404"), std::string::npos) << second.error().message();
}

}  // namespace
}  // namespace berth::e2e
