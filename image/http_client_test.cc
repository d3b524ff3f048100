#include "image/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/time.h"
#include "tests/testing/http_server.h"
#include "tests/testing/temp_dir.h"

namespace berth::image {
namespace {

using berth::testing::HttpServer;
using berth::testing::MakeCertificate;
using berth::testing::ServerReply;
using berth::testing::ServerRequest;
using berth::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler) {
  auto server = HttpServer::Start(std::move(handler));
  EXPECT_TRUE(server.ok()) << server.error().message();
  return std::move(*server);
}

HttpRequest Get(const HttpServer& server, const std::string& path) {
  HttpRequest request;
  request.url = StrCat("http://", server.address(), path);
  return request;
}

class HttpClientTest : public ::testing::Test {
 protected:
  Result<HttpResponse> Send(const HttpRequest& request) {
    return client_.Send(Context::WithTimeoutMs(20'000), request);
  }
  HttpClient client_{HttpClientOptions{.stall_timeout_ms = 400}};
};

TEST_F(HttpClientTest, GetsBodyAndHeaders) {
  auto server = Serve([](const ServerRequest&) {
    return ServerReply{.headers = {{"X-One", "a"}, {"X-ONE", "b"}}, .body = "hello"};
  });
  auto response = Send(Get(*server, "/x?y=1"));
  ASSERT_TRUE(response.ok()) << response.error().message();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(response->Header("x-one"), "a");
  EXPECT_EQ(response->HeaderList("x-one"), "a, b");
  EXPECT_EQ(response->Header("absent"), "");
  EXPECT_EQ(server->requests()[0].path, "/x");
  EXPECT_EQ(server->requests()[0].query, "y=1");
}

TEST_F(HttpClientTest, SendsBodies) {
  auto server = Serve([](const ServerRequest&) { return ServerReply{.status = 201}; });
  HttpRequest request = Get(*server, "/x");
  request.method = "PUT";
  request.body = std::string(100'000, 'z');
  ASSERT_EQ(Send(request)->status, 201);
  EXPECT_EQ(server->requests()[0].method, "PUT");
  EXPECT_EQ(server->requests()[0].body, request.body);
}

TEST_F(HttpClientTest, KeepsConnections) {
  auto server = Serve([](const ServerRequest&) { return ServerReply{.body = "x"}; });
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Send(Get(*server, "/")).ok());
  EXPECT_EQ(server->requests().size(), 5u);
  EXPECT_EQ(server->connections(), 1);
}

TEST_F(HttpClientTest, StreamsIntoASink) {
  const std::string body(3 << 20, 'b');
  auto server = Serve([&](const ServerRequest&) { return ServerReply{.body = body}; });
  std::string got;
  HttpRequest request = Get(*server, "/");
  request.max_body_bytes = 10;  // is for bodies that are kept
  request.sink = [&](const HttpResponse& head, std::string_view bytes) {
    EXPECT_EQ(head.status, 200);
    got.append(bytes);
    return Ok();
  };
  auto response = Send(request);
  ASSERT_TRUE(response.ok()) << response.error().message();
  EXPECT_EQ(got, body);
  EXPECT_EQ(response->body, "");
}

TEST_F(HttpClientTest, ASinksFailureEndsTheTransfer) {
  auto server =
      Serve([](const ServerRequest&) { return ServerReply{.body = std::string(1 << 20, 'b')}; });
  HttpRequest request = Get(*server, "/");
  int calls = 0;
  request.sink = [&](const HttpResponse&, std::string_view) -> Status {
    ++calls;
    return Error(Code::kResourceExhausted, "disk full");
  };
  auto response = Send(request);
  EXPECT_EQ(response.code(), Code::kResourceExhausted);
  EXPECT_THAT(response.error().message(), HasSubstr("disk full"));
  EXPECT_EQ(calls, 1);
}

TEST_F(HttpClientTest, ASlowSinkIsNoStall) {
  auto server =
      Serve([](const ServerRequest&) { return ServerReply{.body = std::string(200'000, 'b')}; });
  HttpRequest request = Get(*server, "/");
  int calls = 0;
  request.sink = [&](const HttpResponse&, std::string_view) {
    if (calls++ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(900));
    return Ok();
  };
  EXPECT_TRUE(Send(request).ok());
}

TEST_F(HttpClientTest, CapsBodiesAndHeaders) {
  auto server = Serve([](const ServerRequest& request) {
    if (request.path == "/headers") {
      ServerReply reply;
      for (int i = 0; i < 100; ++i) reply.headers.emplace_back("X-Filler", std::string(1000, 'f'));
      return reply;
    }
    return ServerReply{.status = request.path == "/failure" ? 500 : 200,
                       .body = std::string(1 << 20, 'b')};
  });
  HttpRequest large = Get(*server, "/");
  large.max_body_bytes = 100'000;
  EXPECT_EQ(Send(large).code(), Code::kResourceExhausted);
  EXPECT_EQ(Send(Get(*server, "/headers")).code(), Code::kResourceExhausted);
  auto failure = Send(Get(*server, "/failure"));
  ASSERT_TRUE(failure.ok()) << failure.error().message();
  EXPECT_EQ(failure->status, 500);
  EXPECT_EQ(failure->body.size(), 4096u);
}

TEST_F(HttpClientTest, TellsFailuresApart) {
  auto server = Serve([](const ServerRequest& request) {
    if (request.path == "/cut") return ServerReply{.body = std::string(1000, 'x'), .cut_after = 10};
    if (request.path == "/stall") return ServerReply{.body = "abc", .stall_after = 1};
    if (request.path == "/mute") return ServerReply{.body = "", .stall_after = 0};
    return ServerReply{.raw = "\x16\x03\x01 this is no HTTP\r\n\r\n"};
  });
  auto cut = Send(Get(*server, "/cut"));
  EXPECT_EQ(cut.code(), Code::kUnavailable);
  EXPECT_EQ(cut.error().sys_errno(), ECONNRESET) << cut.error().message();
  auto stall = Send(Get(*server, "/stall"));
  EXPECT_EQ(stall.code(), Code::kUnavailable);
  EXPECT_EQ(stall.error().sys_errno(), ETIMEDOUT) << stall.error().message();
  EXPECT_EQ(Send(Get(*server, "/garbage")).code(), Code::kUnavailable);

  std::string address = server->address();
  server.reset();
  HttpRequest request;
  request.url = StrCat("http://", address, "/secret?token=hidden");
  auto refused = Send(request);
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_EQ(refused.error().sys_errno(), ECONNREFUSED) << refused.error().message();
  EXPECT_THAT(refused.error().message(), HasSubstr(StrCat("GET http://", address, "/secret")));
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("hidden")));
}

TEST_F(HttpClientTest, HonoursDeadlineAndCancellation) {
  auto server =
      Serve([](const ServerRequest&) { return ServerReply{.body = "abc", .stall_after = 1}; });
  HttpClient patient(HttpClientOptions{.stall_timeout_ms = 60'000});
  int64_t begin = MonotonicNs();
  auto late = patient.Send(Context::WithTimeoutMs(150), Get(*server, "/"));
  EXPECT_EQ(late.code(), Code::kDeadlineExceeded);

  auto context = Context::Cancellable();
  ASSERT_TRUE(context.ok());
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    context->Cancel();
  });
  EXPECT_EQ(patient.Send(*context, Get(*server, "/")).code(), Code::kCancelled);
  canceller.join();
  EXPECT_LT(MonotonicNs() - begin, 5'000'000'000);
}

TEST_F(HttpClientTest, RedirectsTakeNoCredentialsAway) {
  auto elsewhere = Serve([](const ServerRequest&) { return ServerReply{.body = "data"}; });
  auto server = Serve([&](const ServerRequest& request) {
    if (request.path == "/here")
      return ServerReply{.status = 307, .headers = {{"Location", "there"}}};
    if (request.path == "/there") return ServerReply{.body = "same"};
    return ServerReply{
        .status = 302,
        .headers = {{"Location", StrCat("http://", elsewhere->address(), "/x?sig=1")}}};
  });
  HttpRequest request = Get(*server, "/here");
  request.authorization = "Basic c2VjcmV0";
  EXPECT_EQ(Send(request)->body, "same");
  EXPECT_EQ(server->requests().at(1).Header("authorization"), "Basic c2VjcmV0");

  request = Get(*server, "/away");
  request.authorization = "Basic c2VjcmV0";
  auto response = Send(request);
  ASSERT_TRUE(response.ok()) << response.error().message();
  EXPECT_EQ(response->body, "data");
  EXPECT_EQ(server->requests().at(2).Header("authorization"), "Basic c2VjcmV0");
  ASSERT_EQ(elsewhere->requests().size(), 1u);
  EXPECT_EQ(elsewhere->requests()[0].headers.count("authorization"), 0u);
  EXPECT_EQ(elsewhere->requests()[0].query, "sig=1");
}

TEST_F(HttpClientTest, RedirectsEnd) {
  auto server = Serve([](const ServerRequest& request) {
    std::string location = request.path == "/file"   ? "file:///etc/passwd"
                           : request.path == "/user" ? "http://u:p@127.0.0.1/"
                                                     : "/again";
    return ServerReply{.status = 302, .headers = {{"Location", location}}};
  });
  EXPECT_EQ(Send(Get(*server, "/loop")).code(), Code::kUnavailable);
  EXPECT_LE(server->requests().size(), 11u);
  EXPECT_EQ(Send(Get(*server, "/file")).code(), Code::kInvalidArgument);
  EXPECT_EQ(Send(Get(*server, "/user")).code(), Code::kInvalidArgument);
  HttpRequest post = Get(*server, "/post");
  post.method = "POST";
  EXPECT_EQ(Send(post)->status, 302);
}

TEST_F(HttpClientTest, AHostsOwnHeadersAreForItAlone) {
  auto elsewhere = Serve([](const ServerRequest&) { return ServerReply{.body = "data"}; });
  auto server = Serve([&](const ServerRequest&) {
    return ServerReply{.status = 302,
                       .headers = {{"Location", StrCat("http://", elsewhere->address(), "/")}}};
  });
  auto host = std::make_shared<HostOptions>();
  host->headers = {{"X-Key", "s3cret"}, {"X-Empty", ""}, {"authorization", "Basic YTpi"}};
  HttpRequest request = Get(*server, "/");
  request.host = host;
  ASSERT_TRUE(Send(request).ok());
  EXPECT_EQ(server->requests()[0].Header("x-key"), "s3cret");
  EXPECT_EQ(server->requests()[0].headers.count("x-empty"), 1u);
  EXPECT_EQ(server->requests()[0].Header("authorization"), "Basic YTpi");
  EXPECT_EQ(elsewhere->requests()[0].headers.count("x-key"), 0u);
  EXPECT_EQ(elsewhere->requests()[0].headers.count("authorization"), 0u);
  request.authorization = "Bearer t";
  ASSERT_TRUE(Send(request).ok());
  EXPECT_EQ(server->requests()[1].Header("authorization"), "Bearer t");
}

// Sets a variable for as long as it lives.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~ScopedEnv() { unsetenv(name_); }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  const char* name_;
};

TEST(HttpClientProxyTest, ProxiesAreThoseOfTheEnvironment) {
  auto proxy = Serve([](const ServerRequest&) { return ServerReply{.body = "by proxy"}; });
  auto server = Serve([](const ServerRequest&) { return ServerReply{.body = "direct"}; });
  const std::string url = StrCat("http://", proxy->address());
  auto get = [&](const std::string& target) {
    HttpClient client(HttpClientOptions{.stall_timeout_ms = 2000});
    HttpRequest request;
    request.url = target;
    auto response = client.Send(Context::WithTimeoutMs(10'000), request);
    return response.ok() ? response->body : StrCat("failed: ", response.error().message());
  };
  for (const char* name : {"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}) {
    ScopedEnv variable(name, url);
    EXPECT_EQ(get("http://registry.invalid/v2/"), "by proxy") << name;
    EXPECT_EQ(get(StrCat("http://", server->address(), "/")), "direct") << name;
    for (const char* except : {"NO_PROXY", "no_proxy"}) {
      ScopedEnv exception(except, "other.example,.invalid");
      EXPECT_THAT(get("http://registry.invalid/v2/"), HasSubstr("failed: ")) << except;
    }
  }
  EXPECT_EQ(proxy->requests()[0].path, "http://registry.invalid/v2/");
  const size_t before = proxy->requests().size();
  for (const char* name : {"HTTPS_PROXY", "https_proxy"}) {
    ScopedEnv variable(name, url);
    EXPECT_THAT(get("https://registry.invalid/"), HasSubstr("failed: ")) << name;
  }
  ASSERT_EQ(proxy->requests().size(), before + 2);
  EXPECT_EQ(proxy->requests().back().method, "CONNECT");
  EXPECT_EQ(proxy->requests().back().path, "registry.invalid:443");
}

TEST(HttpClientTlsTest, ShowsTheCertificateThatTheServerWants) {
  TempDir first;
  TempDir second;
  auto own = MakeCertificate(first.path());
  auto wanted = MakeCertificate(second.path(), "operator");
  ASSERT_TRUE(own.ok() && wanted.ok());
  own->client_ca = wanted->certificate;
  auto server = HttpServer::StartTls(
      [](const ServerRequest&) { return ServerReply{.body = "welcome"}; }, *own);
  ASSERT_TRUE(server.ok()) << server.error().message();
  HttpClient client(HttpClientOptions{.stall_timeout_ms = 5000});
  HttpRequest request;
  request.url = StrCat("https://", (*server)->address(), "/");
  auto host = std::make_shared<HostOptions>();
  host->ca_pem = *ReadFile(own->certificate);
  request.host = host;
  EXPECT_FALSE(client.Send(Context::WithTimeoutMs(10'000), request).ok());

  auto with = std::make_shared<HostOptions>();
  with->ca_pem = host->ca_pem;
  for (const auto& files : {*own, *wanted}) {
    ASSERT_TRUE(
        with->client_certificates.Add(*ReadFile(files.certificate), *ReadFile(files.key)).ok());
  }
  request.host = with;
  auto response = client.Send(Context::WithTimeoutMs(10'000), request);
  ASSERT_TRUE(response.ok()) << response.error().message();
  EXPECT_EQ(response->body, "welcome");

  ClientCertificates bad;
  EXPECT_EQ(bad.Add(*ReadFile(own->certificate), *ReadFile(wanted->key)).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(bad.Add(*ReadFile(own->certificate), "").code(), Code::kInvalidArgument);
  EXPECT_TRUE(bad.empty());
}

TEST(HttpClientTlsTest, TrustsWhatItIsToldTo) {
  TempDir dir;
  auto files = MakeCertificate(dir.path());
  ASSERT_TRUE(files.ok()) << files.error().message();
  auto plain = Serve([](const ServerRequest&) { return ServerReply{.body = "plain"}; });
  auto server = HttpServer::StartTls(
      [&](const ServerRequest& request) {
        if (request.path == "/down") {
          return ServerReply{.status = 302,
                             .headers = {{"Location", StrCat("http://", plain->address(), "/")}}};
        }
        return ServerReply{.body = "secret"};
      },
      *files);
  ASSERT_TRUE(server.ok()) << server.error().message();
  HttpRequest request;
  request.url = StrCat("https://", (*server)->address(), "/");

  HttpClient client(HttpClientOptions{});
  auto refused = client.Send(Context::WithTimeoutMs(10'000), request);
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("TLS"));

  auto trusting = std::make_shared<HostOptions>();
  trusting->ca_pem = *ReadFile(files->certificate);
  request.host = trusting;
  auto response = client.Send(Context::WithTimeoutMs(10'000), request);
  ASSERT_TRUE(response.ok()) << response.error().message();
  EXPECT_EQ(response->body, "secret");

  auto careless = std::make_shared<HostOptions>();
  careless->skip_verify = true;
  request.host = careless;
  EXPECT_TRUE(client.Send(Context::WithTimeoutMs(10'000), request).ok());

  // A connection that was made with less care is nobody else's.
  request.host = nullptr;
  EXPECT_EQ(client.Send(Context::WithTimeoutMs(10'000), request).code(), Code::kFailedPrecondition);
  request.host = trusting;

  request.url = StrCat("https://", (*server)->address(), "/down");
  auto downgrade = client.Send(Context::WithTimeoutMs(10'000), request);
  EXPECT_EQ(downgrade.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(plain->requests().empty());

  request.url = StrCat("https://", plain->address(), "/");
  EXPECT_EQ(client.Send(Context::WithTimeoutMs(10'000), request).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(plain->requests().empty());
}

}  // namespace
}  // namespace berth::image
