// Attach: copies of a container's output for any number of clients, and its stdin.
#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/streaming_test.h"

namespace berth::e2e {
namespace {

constexpr char kEcho[] = "while read x; do echo got $x; done; echo over; exit 6";

class Attach : public Streaming {
 protected:
  std::string Interactive(const std::string& script, bool once = false, bool terminal = false) {
    rt::ContainerConfig config = ShellConfig(script, "interactive");
    config.set_stdin(true);
    config.set_stdin_once(once);
    config.set_tty(terminal);
    auto container = RunContainer(pod_, config);
    EXPECT_OK(container);
    return container.ok() ? *container : "";
  }
  struct Client {
    std::unique_ptr<SpdyClient> spdy;
    CommandStreams streams;
    std::string& out() { return spdy->stream(streams.out).data; }
    berth::Status Await(const std::string& text) {
      return spdy->ReadUntil([&] { return out().find(text) != std::string::npos; });
    }
    berth::Status AwaitEnd() {
      return spdy->ReadUntil([&] { return spdy->stream(streams.error).ended; });
    }
    std::string& status() { return spdy->stream(streams.error).data; }
  };
  Client AttachTo(const std::string& container, WantedStreams wanted = {.in = true},
                  bool terminal = false) {
    Client client;
    client.spdy = Spdy(AttachUrl(container, wanted, terminal));
    if (client.spdy == nullptr) return client;
    client.streams = OpenCommandStreams(*client.spdy, wanted);
    EXPECT_OK(client.spdy->ReadUntil([&] {
      return client.spdy
          ->stream(wanted.resize             ? client.streams.resize
                   : client.streams.err != 0 ? client.streams.err
                                             : client.streams.out)
          .replied;
    }));
    return client;
  }
  // Until the shim has taken the client in, output may pass it by: ask until there is an answer.
  static void AwaitReady(Client& client) {
    for (int i = 0; i < 100; ++i) {
      ASSERT_OK(client.spdy->Send(client.streams.in, "hello\n"));
      if (client.spdy
              ->ReadUntil([&] { return client.out().find("got hello") != std::string::npos; }, 100)
              .ok()) {
        return;
      }
    }
    FAIL() << "no answer";
  }
};

TEST_F(Attach, InputAndOutputAndTheLogHasAll) {
  const std::string container = Interactive(kEcho);
  Client client = AttachTo(container);
  ASSERT_NE(client.spdy, nullptr);
  ASSERT_OK(client.spdy->Send(client.streams.in, "one\ntwo\n"));
  ASSERT_OK(client.Await("got two"));
  EXPECT_TRUE(AwaitLog(container, "got two"));
}

TEST_F(Attach, SeveralClientsSeeTheSame) {
  const std::string container = Interactive(kEcho);
  std::vector<Client> clients;
  clients.reserve(5);
  for (int i = 0; i < 5; ++i) clients.push_back(AttachTo(container));
  for (Client& client : clients) {
    ASSERT_NE(client.spdy, nullptr);
    AwaitReady(client);
  }
  ASSERT_OK(clients[2].spdy->Send(clients[2].streams.in, "shared\n"));
  for (Client& client : clients) EXPECT_OK(client.Await("got shared"));
}

TEST_F(Attach, InputEndsWithTheFirstClientIfOnce) {
  const std::string container = Interactive(kEcho, /*once=*/true);
  Client client = AttachTo(container);
  ASSERT_NE(client.spdy, nullptr);
  ASSERT_OK(client.spdy->Send(client.streams.in, "last\n", /*fin=*/true));
  ASSERT_OK(client.AwaitEnd());
  EXPECT_EQ(client.out(), "got last\nover\n");
  EXPECT_NE(client.status().find("Success"), std::string::npos);
  EXPECT_EQ(AwaitExit(container)->exit_code(), 6);
}

TEST_F(Attach, InputEndsIfOnceAlsoWhenTheClientIsGone) {
  const std::string container = Interactive(kEcho, /*once=*/true);
  {
    Client client = AttachTo(container);
    ASSERT_NE(client.spdy, nullptr);
    AwaitReady(client);
  }
  EXPECT_EQ(AwaitExit(container)->exit_code(), 6);
}

TEST_F(Attach, InputStaysOpenOtherwise) {
  const std::string container = Interactive(kEcho);
  for (int i = 0; i < 3; ++i) {
    Client client = AttachTo(container);
    ASSERT_NE(client.spdy, nullptr);
    ASSERT_OK(client.spdy->Send(client.streams.in, "again\n", /*fin=*/true));
    ASSERT_OK(client.Await("got again"));
  }
  EXPECT_EQ(Status(container)->state(), rt::CONTAINER_RUNNING);
}

TEST_F(Attach, ATerminalIsReadWrittenAndSized) {
  const std::string container = Interactive("exec sh", /*once=*/false, /*terminal=*/true);
  const WantedStreams wanted = {.in = true, .out = true, .err = false, .resize = true};
  Client client = AttachTo(container, wanted, /*terminal=*/true);
  ASSERT_NE(client.spdy, nullptr);
  ASSERT_OK(client.spdy->Send(client.streams.resize, "{\"Width\":99,\"Height\":33}"));
  for (int i = 0; i < 100 && client.out().find("33 99") == std::string::npos; ++i) {
    ASSERT_OK(client.spdy->Send(client.streams.in, "stty size\n"));
    (void)client.spdy->ReadUntil([&] { return client.out().find("33 99") != std::string::npos; },
                                 100);
  }
  EXPECT_NE(client.out().find("33 99"), std::string::npos) << client.out();
}

TEST_F(Attach, AClientThatDoesNotReadNeitherSlowsTheContainerNorTheOthers) {
  const std::string container = Interactive(
      "read go; head -c 20m /dev/zero | tr '\\0' x | fold -w 999; echo; echo finished; sleep 1000");
  auto url = AttachUrl(container);
  ASSERT_OK(url);
  // It asks for output and never reads it.
  auto slow = SpdyClient::Connect(*url, {"v4.channel.k8s.io"}, /*small_buffers=*/true);
  ASSERT_OK(slow);
  const CommandStreams streams = OpenCommandStreams(**slow, {});
  ASSERT_OK((*slow)->ReadUntil([&] { return (*slow)->stream(streams.err).replied; }));
  usleep(100'000);
  Client client = AttachTo(container);
  ASSERT_NE(client.spdy, nullptr);
  ASSERT_OK(client.spdy->Send(client.streams.in, "go\n"));
  // The container gets to its end, and the log has everything, while the slow one sits there.
  EXPECT_TRUE(AwaitLog(container, "finished", 60'000));
  EXPECT_EQ(LogText(Log(container)).size(),
            (20u << 20) + (20u << 20) / 999 + std::string("\nfinished\n").size());
  // The slow one learns that it was cut off, and why, when it reads at last.
  ASSERT_OK((*slow)->ReadUntil([&] { return (*slow)->stream(streams.error).ended; }));
  EXPECT_NE((*slow)->stream(streams.error).data.find("too far behind"), std::string::npos);
}

TEST_F(Attach, WebSocketToo) {
  const std::string container = Interactive(kEcho);
  auto url = AttachUrl(container, {.in = true});
  ASSERT_OK(url);
  auto client = WebSocketClient::Connect(*url, "v5.channel.k8s.io");
  ASSERT_OK(client);
  std::string out;
  // The first message, which is empty, says that all is set up.
  auto first = (*client)->Receive();
  ASSERT_OK(first);
  EXPECT_EQ(*first, "\1");
  for (int i = 0; i < 100 && out.find("got x") == std::string::npos; ++i) {
    ASSERT_OK((*client)->SendBinary(std::string("\0x\n", 3)));
    auto message = (*client)->Receive();
    ASSERT_OK(message);
    out += message->substr(1);
  }
  EXPECT_NE(out.find("got x"), std::string::npos);
}

TEST_F(Attach, WithoutAStdinOfTheContainerInputGoesNowhere) {
  Client client = AttachTo(container_);
  ASSERT_NE(client.spdy, nullptr);
  ASSERT_OK(client.spdy->Send(client.streams.in, std::string(100'000, 'x'), /*fin=*/true));
  ASSERT_OK(Stop(container_));
  EXPECT_OK(client.AwaitEnd());
}

TEST_F(Attach, OnlyToWhatRuns) {
  rt::AttachRequest request;
  request.set_container_id(std::string(64, '0'));
  request.set_stdout(true);
  EXPECT_FAILS(cri().Call(request), Code::kNotFound, "0000");
  request.set_container_id(container_);
  request.set_stdout(false);
  EXPECT_FAILS(cri().Call(request), Code::kInvalidArgument, "stdin, stdout, stderr");
  request.set_stdout(true);
  ASSERT_OK(Stop(container_));
  EXPECT_FAILS(cri().Call(request), Code::kFailedPrecondition, "not running");
}

}  // namespace
}  // namespace berth::e2e
