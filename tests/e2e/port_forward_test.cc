// PortForward over SPDY, WebSocket, and SPDY inside of WebSocket.
#include "base/strings.h"
#include "tests/e2e/streaming_test.h"

namespace berth::e2e {
namespace {

class PortForward : public Streaming {
 protected:
  void SetUp() override {
    Streaming::SetUp();
    auto server =
        RunContainer(pod_, ShellConfig("nc -ll -p 8080 -e cat & nc -ll -p 8083 -e cat & "
                                       "nc -ll -p 8082 -e echo bye & httpd -p [::1]:8081 && "
                                       "sleep 0.2; echo up; wait",
                                       "server"));
    ASSERT_OK(server);
    server_ = *server;
    ASSERT_TRUE(AwaitLog(server_, "up"));
  }
  std::string server_;
};

TEST_F(PortForward, ReachesAListenerOfThePodInBothDirections) {
  auto client = Spdy(ForwardUrl(pod_, {8080}), 0);
  ASSERT_NE(client, nullptr);
  const Forwarded one = Forward(*client, 8080, 0);
  ASSERT_OK(client->Send(one.data, "hello"));
  ASSERT_OK(client->ReadUntil([&] { return client->stream(one.data).data == "hello"; }));
  // The end of the client's side reaches the listener, which ends its own.
  ASSERT_OK(client->Send(one.data, "", /*fin=*/true));
  ASSERT_OK(client->ReadUntil(
      [&] { return client->stream(one.data).ended && client->stream(one.error).ended; }));
  EXPECT_EQ(client->stream(one.error).data, "");
}

TEST_F(PortForward, AListenerOnIpv6Alone) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  const Forwarded one = Forward(*client, 8081, 0);
  ASSERT_OK(client->Send(one.data, "GET /none HTTP/1.0\r\n\r\n"));
  EXPECT_OK(
      client->ReadUntil([&] { return client->stream(one.data).data.starts_with("HTTP/1.1 404"); }));
}

TEST_F(PortForward, TheListenersEndReachesAClientThatKeepsItsSideOpen) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  const Forwarded one = Forward(*client, 8082, 0);
  ASSERT_OK(client->ReadUntil(
      [&] { return client->stream(one.data).ended && client->stream(one.error).ended; }));
  EXPECT_EQ(client->stream(one.data).data, "bye\n");
}

TEST_F(PortForward, AClosedPortIsToldOnTheErrorStreamAndTheSessionLivesOn) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  const Forwarded closed = Forward(*client, 9, 0);
  ASSERT_OK(client->ReadUntil([&] { return client->stream(closed.error).ended; }));
  EXPECT_NE(client->stream(closed.error).data.find("error forwarding port 9 to pod"),
            std::string::npos);
  EXPECT_NE(client->stream(closed.error).data.find("refused"), std::string::npos);
  const Forwarded open = Forward(*client, 8080, 1);
  ASSERT_OK(client->Send(open.data, "still"));
  EXPECT_OK(client->ReadUntil([&] { return client->stream(open.data).data == "still"; }));
}

TEST_F(PortForward, ManyConnectionsAndPortsOnOneSession) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  std::vector<Forwarded> all;
  for (int i = 0; i < 30; ++i) {
    all.push_back(Forward(*client, i % 2 == 0 ? 8080 : 8083, i));
    ASSERT_OK(client->Send(all.back().data, StrCat("number ", i)));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_OK(client->ReadUntil(
        [&] { return client->stream(all[i].data).data == StrCat("number ", i); }));
  }
}

TEST_F(PortForward, MuchDataBothWays) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  const Forwarded one = Forward(*client, 8080, 0);
  client->CountOnly(one.data);
  const std::string part(32 << 10, 'x');
  size_t sent = 0;
  // What comes back is read as it goes: `cat` stops reading when nobody takes its output.
  while (sent < 50u << 20) {
    ASSERT_OK(client->Send(one.data, part));
    sent += part.size();
    ASSERT_OK(
        client->ReadUntil([&] { return client->stream(one.data).dropped + (256 << 10) >= sent; }));
  }
  EXPECT_OK(client->ReadUntil([&] { return client->stream(one.data).dropped == sent; }));
}

TEST_F(PortForward, AResetStreamClosesItsConnectionOnly) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  const Forwarded gone = Forward(*client, 8080, 0);
  const Forwarded stays = Forward(*client, 8080, 1);
  ASSERT_OK(client->Send(gone.data, "x"));
  ASSERT_OK(client->ReadUntil([&] { return client->stream(gone.data).data == "x"; }));
  ASSERT_OK(client->Reset(gone.data));
  ASSERT_OK(client->ReadUntil([&] { return client->stream(gone.error).ended; }));
  ASSERT_OK(client->Send(stays.data, "y"));
  EXPECT_OK(client->ReadUntil([&] { return client->stream(stays.data).data == "y"; }));
}

TEST_F(PortForward, StreamsThatMakeNoSenseAreReset) {
  auto client = Spdy(ForwardUrl(pod_), 0);
  ASSERT_NE(client, nullptr);
  const uint32_t no_port = client->Open({{"streamtype", "data"}});
  const uint32_t wrong_port = client->Open({{"streamtype", "data"}, {"port", "70000"}});
  const uint32_t wrong_type = client->Open({{"streamtype", "other"}, {"port", "80"}});
  EXPECT_OK(client->ReadUntil([&] {
    return client->stream(no_port).reset && client->stream(wrong_port).reset &&
           client->stream(wrong_type).reset;
  }));
}

TEST_F(PortForward, SpdyInsideOfWebSocket) {
  auto url = ForwardUrl(pod_);
  ASSERT_OK(url);
  auto client = TunnelClient::Connect(*url, "SPDY/3.1+portforward.k8s.io");
  ASSERT_OK(client);
  const Forwarded one = Forward(**client, 8080, 0);
  ASSERT_OK((*client)->Send(one.data, "tunnel"));
  EXPECT_OK((*client)->ReadUntil([&] { return (*client)->stream(one.data).data == "tunnel"; }));
}

TEST_F(PortForward, WebSocketChannels) {
  auto url = ForwardUrl(pod_, {8080, 9});
  ASSERT_OK(url);
  auto client = WebSocketClient::Connect(*url, "v4.channel.k8s.io");
  ASSERT_OK(client);
  ASSERT_OK((*client)->SendBinary(std::string("\0hello", 6)));
  std::string by_channel[4];
  while (by_channel[0].size() < 7 || by_channel[3].size() < 3) {
    auto message = (*client)->Receive();
    ASSERT_OK(message);
    ASSERT_LT((*message)[0], 4);
    by_channel[static_cast<uint8_t>((*message)[0])] += message->substr(1);
  }
  // Each begins with its port.
  EXPECT_EQ(by_channel[0], std::string("\x90\x1fhello", 7));
  EXPECT_EQ(by_channel[1], std::string("\x90\x1f", 2));
  EXPECT_EQ(by_channel[2], std::string("\x09\0", 2));
  EXPECT_NE(by_channel[3].find("error forwarding port 9"), std::string::npos);
}

TEST_F(PortForward, APodOnTheHostsNetwork) {
  rt::PodSandboxConfig config = PodConfig("host");
  config.mutable_linux()->mutable_security_context()->mutable_namespace_options()->set_network(
      rt::NODE);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto server = RunContainer(*pod, ShellConfig("nc -ll -p 18080 -e cat & echo up; wait"));
  ASSERT_OK(server);
  ASSERT_TRUE(AwaitLog(*server, "up"));
  for (int i = 0; i < 50; ++i) {
    auto client = Spdy(ForwardUrl(*pod), 0);
    ASSERT_NE(client, nullptr);
    const Forwarded one = Forward(*client, 18080, 0);
    ASSERT_OK(client->Send(one.data, "host"));
    ASSERT_OK(client->ReadUntil([&] {
      return client->stream(one.data).data == "host" || client->stream(one.error).ended;
    }));
    if (client->stream(one.data).data == "host") return;
  }
  FAIL() << "not reached";
}

TEST_F(PortForward, RequestsThatCannotBeMeant) {
  EXPECT_FAILS(ForwardUrl(pod_, {0}), Code::kInvalidArgument, "port");
  EXPECT_FAILS(ForwardUrl(pod_, {65536}), Code::kInvalidArgument, "port");
  EXPECT_FAILS(ForwardUrl(""), Code::kInvalidArgument, "pod_sandbox_id");
  EXPECT_FAILS(ForwardUrl(std::string(64, '0')), Code::kNotFound, "0000");
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(pod_);
  ASSERT_OK(cri().Call(stop));
  EXPECT_FAILS(ForwardUrl(pod_), Code::kFailedPrecondition, "not ready");
}

}  // namespace
}  // namespace berth::e2e
