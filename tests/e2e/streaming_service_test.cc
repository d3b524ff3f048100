// The streaming server as the configuration and the log of a daemon of its own know it.
#include <gmock/gmock.h>
#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/streaming_test.h"
#include "tests/testing/http_server.h"
#include "tests/testing/temp_dir.h"

namespace berth::e2e {
namespace {

using testing::ConnectTcp;
using testing::ExchangeBytes;
using testing::ExchangeOverTls;
using ::testing::HasSubstr;
using testing::ParseUrl;
using ::testing::StartsWith;

class StreamingService : public ::testing::Test {
 protected:
  // A daemon with that configuration, and a container of its that writes nothing.
  void StartNode(const std::string& config) {
    auto image = TestImage();
    ASSERT_OK(image);
    auto node = Node::Start({.with_cni = false, .config = config});
    ASSERT_OK(node);
    node_ = std::move(*node);
    rt::PullImageRequest pull;
    pull.mutable_image()->set_image(*image);
    ASSERT_OK(cri().Call(pull));
    rt::RunPodSandboxRequest run;
    run.mutable_config()->mutable_metadata()->set_name("streams");
    run.mutable_config()->mutable_metadata()->set_namespace_("e2e");
    run.mutable_config()->mutable_metadata()->set_uid("uid");
    run.mutable_config()
        ->mutable_linux()
        ->mutable_security_context()
        ->mutable_namespace_options()
        ->set_network(rt::NODE);
    auto pod = cri().Call(run);
    ASSERT_OK(pod);
    pod_ = pod->pod_sandbox_id();
    rt::CreateContainerRequest create;
    create.set_pod_sandbox_id(pod_);
    *create.mutable_sandbox_config() = run.config();
    create.mutable_config()->mutable_metadata()->set_name("main");
    create.mutable_config()->mutable_image()->set_image(*image);
    for (const char* word : {"sleep", "4250"}) create.mutable_config()->add_command(word);
    auto container = cri().Call(create);
    ASSERT_OK(container);
    container_ = container->container_id();
    rt::StartContainerRequest start;
    start.set_container_id(container_);
    ASSERT_OK(cri().Call(start));
  }
  Cri& cri() { return node_->cri(); }
  template <typename Request>
  std::string UrlOf(Request request) {
    request.set_stdout(true);
    request.set_stderr(true);
    auto response = cri().Call(request);
    EXPECT_OK(response);
    return response.ok() ? response->url() : "";
  }
  std::string ExecUrl(const std::string& script) {
    rt::ExecRequest request;
    request.set_container_id(container_);
    for (const std::string& word : {std::string("sh"), std::string("-c"), script}) {
      request.add_cmd(word);
    }
    return UrlOf(request);
  }
  std::string AttachUrl() {
    rt::AttachRequest request;
    request.set_container_id(container_);
    return UrlOf(request);
  }
  std::string ForwardUrl() {
    rt::PortForwardRequest request;
    request.set_pod_sandbox_id(pod_);
    auto response = cri().Call(request);
    EXPECT_OK(response);
    return response.ok() ? response->url() : "";
  }
  static std::unique_ptr<SpdyClient> Connect(const std::string& url, const std::string& protocol) {
    auto client = SpdyClient::Connect(url, {protocol});
    EXPECT_OK(client);
    return client.ok() ? std::move(*client) : nullptr;
  }
  // Lines of the daemon's log from the byte `from` on.
  std::vector<std::string> LogLines(size_t from = 0) {
    auto text = ReadFile(node_->dir() + "/berthd.log");
    EXPECT_OK(text);
    std::vector<std::string> lines;
    if (!text.ok()) return lines;
    for (std::string_view line : Split(std::string_view(*text).substr(from), '\n')) {
      if (!line.empty()) lines.emplace_back(line);
    }
    return lines;
  }
  size_t LogBytes() {
    auto text = ReadFile(node_->dir() + "/berthd.log");
    return text.ok() ? text->size() : 0;
  }

  std::unique_ptr<Node> node_;
  std::string pod_, container_;
};

TEST_F(StreamingService, SessionsInWhichNothingMovesEndAfterTheConfiguredTime) {
  constexpr int64_t kIdleNs = 3'000'000'000;
  StartNode("[streaming]\nidle_timeout_s = 3\n");
  ASSERT_FALSE(HasFatalFailure());
  const std::string version = "v4.channel.k8s.io";
  auto silent = Connect(ExecUrl("sleep 4251"), version);
  auto attached = Connect(AttachUrl(), version);
  auto forwarding = Connect(ForwardUrl(), "portforward.k8s.io");
  auto busy =
      Connect(ExecUrl("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.6; done"), version);
  ASSERT_TRUE(silent && attached && forwarding && busy);
  OpenCommandStreams(*silent, {});
  OpenCommandStreams(*attached, {});
  const CommandStreams streams = OpenCommandStreams(*busy, {});
  const int64_t begun_ns = MonotonicNs();
  for (SpdyClient* client : {silent.get(), attached.get(), forwarding.get()}) {
    EXPECT_EQ(client->ReadUntil([] { return false; }).code(), Code::kUnavailable);
    EXPECT_GE(MonotonicNs() - begun_ns, kIdleNs - kIdleNs / 10);
  }
  // Twice that time, but never silent for so long.
  ASSERT_OK(busy->ReadUntil([&] { return busy->stream(streams.error).ended; }));
  EXPECT_THAT(busy->stream(streams.out).data, HasSubstr("10\n"));
  EXPECT_THAT(busy->stream(streams.error).data, HasSubstr("Success"));
  // The command has ended with its session, the container with none.
  rt::ExecSyncRequest ask;
  ask.set_container_id(container_);
  for (const char* word : {"sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"}) {
    ask.add_cmd(word);
  }
  auto answer = cri().Call(ask);
  ASSERT_OK(answer);
  EXPECT_THAT(answer->stdout(), HasSubstr("sleep 4250"));
  EXPECT_EQ(answer->stdout().find("4251"), std::string::npos) << answer->stdout();
}

TEST_F(StreamingService, ServesOverTlsWithTheConfiguredCertificateOnly) {
  testing::TempDir dir, others;
  auto files = testing::MakeCertificate(dir.path());
  auto other = testing::MakeCertificate(others.path());
  ASSERT_OK(files);
  ASSERT_OK(other);
  StartNode(StrCat("[streaming]\ntls_cert_file = \"", files->certificate, "\"\ntls_key_file = \"",
                   files->key, "\"\n"));
  ASSERT_FALSE(HasFatalFailure());
  // As a WebSocket client asks; the answer's frames are not masked, so that the text shows.
  auto ask = [&](const std::string& url, const std::string& ca_file, const std::string& until) {
    EXPECT_THAT(url, StartsWith("https://127.0.0.1:"));
    return ExchangeOverTls(url, ca_file,
                           StrCat("GET ", ParseUrl(url)->path,
                                  " HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n"
                                  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"),
                           until);
  };
  auto shown = ask(ExecUrl("head -c 300000 /dev/zero | tr '\\0' x; exit 7"), files->certificate,
                   "NonZeroExitCode");
  ASSERT_OK(shown);
  EXPECT_THAT(*shown, HasSubstr("101 Switching Protocols"));
  EXPECT_THAT(*shown, HasSubstr("\"7\""));
  EXPECT_GT(shown->size(), 300'000u);
  EXPECT_FAILS(ask(ExecUrl("true"), other->certificate, "\n"), Code::kUnauthenticated, "TLS");
  // Whoever speaks without it gets no session, and the token is not spent on that.
  const std::string url = ExecUrl("echo hidden");
  auto plain = ExchangeBytes(url, testing::SpdyRequest(ParseUrl(url)->path, {"v4.channel.k8s.io"}));
  EXPECT_TRUE(!plain.ok() || plain->find("101") == std::string::npos);
  auto later = ask(url, files->certificate, "Success");
  ASSERT_OK(later);
  EXPECT_THAT(*later, HasSubstr("hidden"));
}

// How many refusals these lines tell of.
size_t Told(const std::vector<std::string>& lines) {
  size_t told = 0;
  for (const std::string& line : lines) {
    ++told;
    const size_t more = line.find(" more before it");
    if (more == std::string::npos) continue;
    const size_t word = line.rfind(' ', more - 1) + 1;
    told += ParseNumber<size_t>(std::string_view(line).substr(word, more - word)).value_or(0);
  }
  return told;
}

TEST_F(StreamingService, AFloodOfBadRequestsIsALineASecondInTheLogAndNoneIsLost) {
  StartNode("");
  ASSERT_FALSE(HasFatalFailure());
  const std::string url = ExecUrl("true");
  const std::string origin = url.substr(0, url.rfind("/exec/"));
  const size_t from = LogBytes();
  const int64_t begun_ns = MonotonicNs();
  size_t refused = 0;
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 3; ++i, ++refused) {
    auto fd = ConnectTcp(*ParseUrl(origin + "/"));
    ASSERT_OK(fd);
    ASSERT_EQ(write(fd->get(), "GET /exec/", 10), 10);
    slow.push_back(std::move(*fd));
  }
  for (int i = 0; i < 100; ++i) {
    for (const std::string& bytes : {std::string("\x16\x03\x01garbage\x1b[31m\r\n\r\n"),
                                     std::string("GET /exec/0123456789abcdef HTTP/1.1\r\n\r\n"),
                                     StrCat("GET / HTTP/1.1\r\nX: ", std::string(20'000, 'x'))}) {
      ASSERT_OK(ExchangeBytes(origin + "/", bytes));
      ++refused;
    }
  }
  for (const UniqueFd& fd : slow) {
    char byte = 0;
    EXPECT_LE(read(fd.get(), &byte, 1), 0) << "no end of a slow request";
  }
  usleep(1'200'000);  // then the next one is told at once, with those that were not
  ASSERT_OK(ExchangeBytes(origin + "/", "more\r\n\r\n"));
  ++refused;
  const auto seconds = static_cast<size_t>((MonotonicNs() - begun_ns) / 1'000'000'000);

  // The answer comes before the line.
  std::vector<std::string> lines;
  for (int i = 0; i < 200 && Told(lines) < refused; ++i) {
    usleep(20'000);
    lines = LogLines(from);
  }
  EXPECT_EQ(Told(lines), refused);
  EXPECT_LE(lines.size(), seconds + 2);
  for (const std::string& line : lines) {
    EXPECT_THAT(line, HasSubstr("streaming: refused 127.0.0.1:"));
    EXPECT_LT(line.size(), 400u);
    EXPECT_EQ(line.find('\x1b'), std::string::npos);
  }
}

TEST_F(StreamingService, ASessionThatBreaksTheProtocolIsOneLine) {
  StartNode("");
  ASSERT_FALSE(HasFatalFailure());
  const size_t from = LogBytes();
  auto client = Connect(ExecUrl("cat"), "v4.channel.k8s.io");
  ASSERT_TRUE(client);
  (void)client->SendBytes(std::string(200'000, '\xee'));
  EXPECT_EQ(client->ReadUntil([] { return false; }).code(), Code::kUnavailable);
  std::vector<std::string> lines;
  for (int i = 0; i < 200 && lines.empty(); ++i) {
    usleep(20'000);
    lines = LogLines(from);
  }
  usleep(200'000);
  lines = LogLines(from);
  ASSERT_EQ(lines.size(), 1u) << ::testing::PrintToString(lines);
  EXPECT_THAT(lines[0], HasSubstr(StrCat("streaming: exec of sh in container ", container_)));
}

}  // namespace
}  // namespace berth::e2e
