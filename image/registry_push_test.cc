// Pushes to registries that answer as they like.
#include "image/registry_push.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "base/file.h"
#include "image/digest.h"
#include "image/registry.h"
#include "tests/testing/http_server.h"
#include "tests/testing/temp_dir.h"

namespace berth::image {
namespace {

using berth::testing::HttpServer;
using berth::testing::ServerReply;
using berth::testing::ServerRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Context kContext = Context::WithTimeoutMs(100'000);

std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler) {
  auto server = HttpServer::Start(std::move(handler));
  EXPECT_TRUE(server.ok()) << server.error().message();
  return std::move(*server);
}

class Writer {
 public:
  explicit Writer(const std::string& base_url, Credentials credentials = {},
                  std::shared_ptr<const HostOptions> tls = nullptr)
      : http_({}),
        authorizer_(http_),
        repository_(http_, authorizer_, ScopeOf(base_url, std::move(credentials), std::move(tls))) {
  }
  RepositoryWriter* operator->() { return &repository_; }

 private:
  static AuthScope ScopeOf(const std::string& base_url, Credentials credentials,
                           std::shared_ptr<const HostOptions> tls) {
    AuthScope scope;
    scope.endpoint.base_url = StrCat(base_url, "/v2");
    scope.endpoint.options = std::move(tls);
    scope.repository = "team/app";
    scope.credentials = std::move(credentials);
    return scope;
  }

  HttpClient http_;
  Authorizer authorizer_;
  RepositoryWriter repository_;
};

TEST(RegistryPush, ABlobGoesInPiecesToWhereTheRegistrySays) {
  std::string received;
  auto server = Serve([&](const ServerRequest& request) -> ServerReply {
    if (request.method == "POST") return {.status = 202, .headers = {{"Location", "/u/1?s=a"}}};
    received += request.body;
    if (request.method == "PATCH") {
      return {.status = 202, .headers = {{"Location", StrCat("/u/", received.size(), "?s=b")}}};
    }
    return {.status = 201};
  });
  Writer writer("http://" + server->address());
  const std::string bytes(RepositoryWriter::kPieceBytes + 1000, 'b');
  std::vector<int64_t> told;
  auto source = [&](const RepositoryWriter::Sink& sink) -> Status {
    RETURN_IF_ERROR(sink({bytes.data(), 10}));
    return sink({bytes.data() + 10, bytes.size() - 10});
  };
  Status pushed = writer->PushBlob(kContext, DigestOf(bytes), source,
                                   [&](int64_t sent) { told.push_back(sent); });
  ASSERT_TRUE(pushed.ok()) << pushed.error().message();
  EXPECT_TRUE(received == bytes);
  const auto whole = static_cast<int64_t>(bytes.size());
  EXPECT_THAT(told, ElementsAre(whole - 1000, whole));
  const auto requests = server->requests();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0].path, "/v2/team/app/blobs/uploads/");
  EXPECT_EQ(requests[1].Header("content-range"), StrCat("0-", whole - 1001));
  EXPECT_EQ(requests[2].Header("content-range"), StrCat(whole - 1000, "-", whole - 1));
  EXPECT_EQ(requests[3].path, StrCat("/u/", whole));
  EXPECT_EQ(requests[3].query, StrCat("s=b&digest=", DigestOf(bytes)));
}

TEST(RegistryPush, CredentialsStayWithTheRegistry) {
  std::string elsewhere_authorization = "none came";
  auto elsewhere = Serve([&](const ServerRequest& request) -> ServerReply {
    elsewhere_authorization = request.Header("authorization");
    return {.status = 201};
  });
  auto server = Serve([&](const ServerRequest& request) -> ServerReply {
    if (request.Header("authorization").empty()) {
      return {.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}};
    }
    return {.status = 202,
            .headers = {{"Location", StrCat("http://", elsewhere->address(), "/u")}}};
  });
  Credentials credentials;
  credentials.username = "user";
  credentials.password = "secret";
  Writer writer("http://" + server->address(), credentials);
  ASSERT_TRUE(writer->PushBlob(kContext, DigestOf("x"), std::string("x")).ok());
  EXPECT_EQ(elsewhere_authorization, "");
}

TEST(RegistryPush, NothingGoesWithoutTlsWhereTheRegistryHasIt) {
  const berth::testing::TempDir dir;
  auto files = berth::testing::MakeCertificate(dir.path());
  ASSERT_TRUE(files.ok());
  auto server = HttpServer::StartTls(
      [](const ServerRequest&) -> ServerReply {
        return {.status = 202, .headers = {{"Location", "http://127.0.0.1:1/u"}}};
      },
      *files);
  ASSERT_TRUE(server.ok());
  auto tls = std::make_shared<HostOptions>();
  tls->ca_pem = *ReadFile(files->certificate);
  Writer writer("https://" + (*server)->address(), {}, tls);
  auto pushed = writer->PushBlob(kContext, DigestOf("x"), std::string("x"));
  ASSERT_FALSE(pushed.ok());
  EXPECT_EQ(pushed.code(), Code::kFailedPrecondition);
  EXPECT_THAT(pushed.error().message(), HasSubstr("without TLS"));
}

TEST(RegistryPush, WhatIsSafeIsTriedAgainAndRefusalsAreNamed) {
  std::atomic<int> manifests{0};
  auto server = Serve([&](const ServerRequest& request) -> ServerReply {
    if (request.method == "PUT") return {.status = ++manifests < 3 ? 503 : 201};
    if (request.method == "PATCH") return {.status = 500};
    if (request.method == "POST") return {.status = 202, .headers = {{"Location", "/u"}}};
    return {.status = request.path.ends_with("/absent") ? 404 : 200};
  });
  Writer writer("http://" + server->address());
  EXPECT_TRUE(writer->PushManifest(kContext, "v1", "application/x", "{}").ok());
  EXPECT_EQ(manifests, 3);
  auto there = writer->HasBlob(kContext, "there");
  ASSERT_TRUE(there.ok());
  EXPECT_TRUE(*there);
  auto absent = writer->HasBlob(kContext, "absent");
  ASSERT_TRUE(absent.ok());
  EXPECT_FALSE(*absent);
  // The registry may have a piece whose answer went wrong.
  auto source = [](const RepositoryWriter::Sink& sink) { return sink("x"); };
  auto pushed = writer->PushBlob(kContext, DigestOf("x"), source, [](int64_t) {});
  ASSERT_FALSE(pushed.ok());
  EXPECT_EQ(pushed.code(), Code::kUnavailable);
  EXPECT_THAT(pushed.error().message(), HasSubstr("PATCH http://"));
  const auto requests = server->requests();
  EXPECT_EQ(std::count_if(requests.begin(), requests.end(),
                          [](const auto& request) { return request.method == "PATCH"; }),
            1);
}

TEST(RegistryPush, AForbiddenPushSaysSo) {
  auto server = Serve([](const ServerRequest&) -> ServerReply {
    return {.status = 403, .body = R"({"errors":[{"code":"DENIED","message":"read only"}]})"};
  });
  Writer writer("http://" + server->address());
  auto pushed = writer->PushManifest(kContext, "v1", "application/x", "{}");
  ASSERT_FALSE(pushed.ok());
  EXPECT_EQ(pushed.code(), Code::kPermissionDenied);
  EXPECT_THAT(pushed.error().message(), HasSubstr("DENIED: read only"));
}

}  // namespace
}  // namespace berth::image
