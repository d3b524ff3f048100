// The whole server, with real processes and sockets, without the runtime.
#include "cri/stream/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "tests/testing/http_server.h"
#include "tests/testing/stream_client.h"
#include "tests/testing/temp_dir.h"

// glog asks libc for the time zone; the lock around that is inside of libc, which
// ThreadSanitizer does not see.
#if defined(__SANITIZE_THREAD__)
// NOLINTNEXTLINE(readability-identifier-naming,bugprone-reserved-identifier): the sanitizer's name
extern "C" const char* __tsan_default_suppressions() {
  return "race:tzset_internal";
}
#endif

namespace berth::cri::stream {
namespace {

using ::testing::HasSubstr;
using testing::OpenCommandStreams;
using testing::SpdyClient;

// A program of this machine in the place of one in a container.
Result<Process> RunProgramOf(const Context&, const ExecRequest& request) {
  ASSIGN_OR_RETURN(auto in, MakePipe());
  ASSIGN_OR_RETURN(auto out, MakePipe());
  ASSIGN_OR_RETURN(auto err, MakePipe());
  SpawnOptions options;
  options.path = request.command[0];
  options.args = request.command;
  options.env = {"PATH=/usr/bin:/bin"};
  options.child_fds = {in.read.get(), out.write.get(), err.write.get()};
  options.new_session = true;
  ASSIGN_OR_RETURN(auto child, Spawn(options));
  Process process;
  if (request.streams.in) process.in = std::move(in.write);
  process.out = std::move(out.read);
  process.err = std::move(err.read);
  for (const UniqueFd* fd : {&process.in, &process.out, &process.err}) {
    if (fd->ok()) fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  }
  auto shared = std::make_shared<Child>(std::move(child));
  process.ended_fd = shared->pidfd();
  process.ending = [shared]() -> Result<int32_t> {
    ASSIGN_OR_RETURN(const int code, shared->Wait(Context::WithTimeoutMs(1000)));
    return code;
  };
  return process;
}

class StreamServerTest : public ::testing::Test {
 protected:
  void Start(ServerOptions options = {}) {
    RuntimeCalls calls;
    calls.exec = RunProgramOf;
    calls.attach = [](const Context&, const AttachRequest&) -> Result<Process> {
      return Error(Code::kNotFound, "nothing to attach to");
    };
    calls.pod_socket = [](const std::string&, int family) -> Result<UniqueFd> {
      return UniqueFd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    };
    auto server = Server::Start(std::move(options), std::move(calls));
    ASSERT_TRUE(server.ok()) << server.error().message();
    server_ = std::move(*server);
  }
  std::string ExecUrl(const std::string& script, bool in = false) {
    auto url = server_->Url(
        ExecRequest{"c", {"/bin/sh", "-c", script}, {.in = in, .out = true, .err = true}});
    EXPECT_TRUE(url.ok());
    return url.ok() ? *url : "";
  }

  std::unique_ptr<Server> server_;
};

TEST_F(StreamServerTest, ManySessionsAtOnce) {
  Start();
  std::vector<std::unique_ptr<SpdyClient>> clients;
  std::vector<testing::CommandStreams> streams;
  for (int i = 0; i < 20; ++i) {
    auto client =
        SpdyClient::Connect(ExecUrl(StrCat("cat; exit ", i), true), {"v4.channel.k8s.io"});
    ASSERT_TRUE(client.ok()) << client.error().message();
    streams.push_back(OpenCommandStreams(**client, {.in = true}));
    clients.push_back(std::move(*client));
  }
  const std::string input(200'000, 'x');
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSERT_TRUE(clients[i]->Send(streams[i].in, input, /*fin=*/true).ok());
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    SpdyClient& client = *clients[i];
    ASSERT_TRUE(client.ReadUntil([&] { return client.stream(streams[i].error).ended; }).ok());
    EXPECT_EQ(client.stream(streams[i].out).data, input);
    EXPECT_THAT(client.stream(streams[i].error).data,
                HasSubstr(i == 0 ? "Success" : StrCat("\"", i, "\"")));
  }
}

TEST_F(StreamServerTest, AFailureToStartIsToldInTheStatus) {
  Start();
  auto url = server_->Url(AttachRequest{"c", {.out = true}});
  auto client = SpdyClient::Connect(*url, {"v4.channel.k8s.io"});
  ASSERT_TRUE(client.ok());
  auto streams = OpenCommandStreams(**client, {.err = false});
  ASSERT_TRUE((*client)->ReadUntil([&] { return (*client)->stream(streams.error).ended; }).ok());
  EXPECT_THAT((*client)->stream(streams.error).data, HasSubstr("nothing to attach to"));
}

TEST_F(StreamServerTest, StoppingEndsSessionsAndFreesThePort) {
  Start();
  auto running = SpdyClient::Connect(ExecUrl("sleep 1000"), {"v4.channel.k8s.io"});
  auto waiting = SpdyClient::Connect(ExecUrl("sleep 1000"), {"v4.channel.k8s.io"});
  ASSERT_TRUE(running.ok() && waiting.ok());
  OpenCommandStreams(**running, {});
  const std::string url = ExecUrl("true");
  server_.reset();
  EXPECT_EQ((*running)->ReadUntil([] { return false; }).code(), Code::kUnavailable);
  EXPECT_EQ((*waiting)->ReadUntil([] { return false; }).code(), Code::kUnavailable);
  EXPECT_FALSE(SpdyClient::Connect(url, {"v4.channel.k8s.io"}).ok());
}

TEST_F(StreamServerTest, AnIdleSessionIsEnded) {
  ServerOptions options;
  options.idle_timeout_ms = 200;
  Start(options);
  auto client = SpdyClient::Connect(ExecUrl("sleep 1000"), {"v4.channel.k8s.io"});
  ASSERT_TRUE(client.ok());
  OpenCommandStreams(**client, {});
  EXPECT_EQ((*client)->ReadUntil([] { return false; }, 5000).code(), Code::kUnavailable);
}

TEST_F(StreamServerTest, ForwardsToAListener) {
  Start();
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener.get(), 5), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string port = StrCat(ntohs(address.sin_port));
  auto client = SpdyClient::Connect(*server_->Url(PortForwardRequest{"p", {}}), {});
  ASSERT_TRUE(client.ok());
  const uint32_t error = (*client)->Open({{"streamtype", "error"}, {"port", port}});
  const uint32_t data = (*client)->Open({{"streamtype", "data"}, {"port", port}});
  ASSERT_TRUE((*client)->Send(data, "hello", /*fin=*/true).ok());
  const UniqueFd accepted(accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(*ReadToEnd(accepted.get(), 100), "hello");
  ASSERT_TRUE(WriteAll(accepted.get(), "bye").ok());
  shutdown(accepted.get(), SHUT_WR);
  ASSERT_TRUE((*client)->ReadUntil([&] { return (*client)->stream(error).ended; }).ok());
  EXPECT_EQ((*client)->stream(data).data, "bye");
}

TEST_F(StreamServerTest, ServesTlsAndNoticesANewCertificate) {
  testing::TempDir dir;
  ServerOptions options;
  options.tls_cert_file = dir / "none.pem";
  options.tls_key_file = dir / "none.pem";
  EXPECT_FALSE(Server::Start(options, {}).ok());
  auto files = testing::MakeCertificate(dir.path());
  ASSERT_TRUE(files.ok()) << files.error().message();
  options.tls_cert_file = files->certificate;
  options.tls_key_file = files->key;
  Start(options);
  for (int round = 0; round < 2; ++round) {
    const std::string url = ExecUrl("head -c 300000 /dev/zero | tr '\\0' x; echo end");
    EXPECT_THAT(url, ::testing::StartsWith("https://127.0.0.1:"));
    const auto answer = testing::ExchangeOverTls(
        url, files->certificate,
        StrCat("GET ", testing::ParseUrl(url)->path,
               " HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
               "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"),
        "Success");
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_THAT(*answer, HasSubstr("101 Switching Protocols"));
    EXPECT_GT(answer->size(), 300'000u);
    ASSERT_TRUE(testing::MakeCertificate(dir.path()).ok());
  }
  // Plain HTTP is refused and does no harm.
  (void)testing::ExchangeBytes(ExecUrl("true"), "GET / HTTP/1.1\r\n\r\n", 5000);
  auto answer = testing::ExchangeOverTls(ExecUrl("true"), files->certificate,
                                         "GET /x HTTP/1.1\r\n\r\n", "\n");
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_THAT(*answer, HasSubstr("404"));
}

}  // namespace
}  // namespace berth::cri::stream
