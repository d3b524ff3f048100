#include "image/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "base/file.h"
#include "base/time.h"
#include "image/digest.h"
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

const char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
const Context kContext = Context::WithTimeoutMs(100'000);

std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler) {
  auto server = HttpServer::Start(std::move(handler));
  EXPECT_TRUE(server.ok()) << server.error().message();
  return std::move(*server);
}

ServerReply Manifest(const std::string& body) {
  return {.headers = {{"Content-Type", kManifestType}}, .body = body};
}

// A client of one repository, "team/app", of a scripted registry.
class Client {
 public:
  explicit Client(const HttpServer& server, Credentials credentials = {},
                  std::shared_ptr<const HostOptions> tls = nullptr)
      : http_({.stall_timeout_ms = tls == nullptr ? 300 : 10'000}),
        authorizer_(http_),
        repository_(http_, authorizer_, {ScopeOf(server, std::move(credentials), std::move(tls))}) {
  }
  Repository* operator->() { return &repository_; }
  static AuthScope ScopeOf(const HttpServer& server, Credentials credentials = {},
                           std::shared_ptr<const HostOptions> tls = nullptr) {
    AuthScope scope;
    scope.endpoint.base_url =
        StrCat(tls == nullptr ? "http://" : "https://", server.address(), "/v2");
    scope.endpoint.host = server.address();
    scope.endpoint.options = std::move(tls);
    scope.repository = "team/app";
    scope.credentials = std::move(credentials);
    return scope;
  }

 private:
  HttpClient http_;
  Authorizer authorizer_;
  Repository repository_;
};

Descriptor BlobOf(const std::string& bytes) {
  return {"application/octet-stream", DigestOf(bytes), static_cast<int64_t>(bytes.size())};
}

TEST(RepositoryTest, AsksForManifestsByTagAndDigest) {
  auto server = Serve([](const ServerRequest&) { return Manifest("{}"); });
  Client client(*server);
  auto manifest = client->GetManifest(kContext, "v1");
  ASSERT_TRUE(manifest.ok()) << manifest.error().message();
  EXPECT_EQ(manifest->bytes, "{}");
  EXPECT_EQ(manifest->content_type, kManifestType);
  EXPECT_EQ(manifest->digest, DigestOf("{}"));
  EXPECT_TRUE(client->GetManifest(kContext, DigestOf("{}")).ok());
  auto requests = server->requests();
  EXPECT_EQ(requests[0].path, "/v2/team/app/manifests/v1");
  EXPECT_EQ(requests[1].path, "/v2/team/app/manifests/" + DigestOf("{}"));
  EXPECT_THAT(requests[0].Header("accept"), HasSubstr("oci.image.index.v1+json"));
}

TEST(RepositoryTest, RefusesManifestsOfAnotherDigest) {
  auto server = Serve([](const ServerRequest& request) {
    ServerReply reply = Manifest("{}");
    if (request.path.ends_with("lie")) {
      reply.headers.emplace_back("Docker-Content-Digest", DigestOf("other"));
    }
    return reply;
  });
  Client client(*server);
  auto asked = client->GetManifest(kContext, DigestOf("wanted"));
  EXPECT_EQ(asked.code(), Code::kDataLoss);
  EXPECT_THAT(asked.error().message(), HasSubstr(DigestOf("wanted")));
  EXPECT_EQ(client->GetManifest(kContext, "lie").code(), Code::kDataLoss);
}

TEST(RepositoryTest, CapsManifests) {
  auto server =
      Serve([](const ServerRequest&) { return Manifest(std::string((4 << 20) + 1, ' ')); });
  EXPECT_EQ(Client(*server)->GetManifest(kContext, "v1").code(), Code::kResourceExhausted);
}

TEST(RepositoryTest, ResolvesByHead) {
  auto server = Serve([](const ServerRequest& request) {
    ServerReply reply = Manifest("{}");
    reply.headers.emplace_back("Docker-Content-Digest",
                               request.path.ends_with("odd") ? "sha256:../.." : DigestOf("{}"));
    return reply;
  });
  Client client(*server);
  EXPECT_EQ(*client->Resolve(kContext, "v1"), DigestOf("{}"));
  EXPECT_EQ(server->requests()[0].method, "HEAD");
  EXPECT_EQ(*client->Resolve(kContext, "odd"), "");
}

TEST(RepositoryTest, TurnsStatusIntoErrors) {
  struct Row {
    int status;
    Code code;
    size_t requests;
  };
  const Row table[] = {
      {400, Code::kUnknown, 1},          {401, Code::kUnauthenticated, 1},
      {403, Code::kPermissionDenied, 1}, {404, Code::kNotFound, 1},
      {429, Code::kUnavailable, 3},      {500, Code::kUnavailable, 3},
      {503, Code::kUnavailable, 3},
  };
  for (const Row& row : table) {
    auto server = Serve([&](const ServerRequest&) {
      return ServerReply{.status = row.status,
                         .headers = {{"Retry-After", "0"}},
                         .body = R"({"errors":[{"code":"SOME_CODE","message":"a\u001bbad day"}]})"};
    });
    auto manifest = Client(*server)->GetManifest(kContext, "v1");
    EXPECT_EQ(manifest.code(), row.code) << row.status;
    EXPECT_EQ(server->requests().size(), row.requests) << row.status;
    if (row.status == 401) continue;
    EXPECT_THAT(manifest.error().message(), HasSubstr("SOME_CODE: a\\x1bbad day"));
    EXPECT_THAT(manifest.error().message(), HasSubstr("/v2/team/app/manifests/v1"));
    EXPECT_THAT(manifest.error().message(), HasSubstr(StrCat(row.status)));
  }
}

TEST(RepositoryTest, TriesAgainWhatMayWork) {
  std::atomic<int> asked{0};
  auto server = Serve([&](const ServerRequest&) {
    int n = asked++;
    if (n == 0) return ServerReply{.status = 503};
    if (n == 1) return ServerReply{.body = "{}", .cut_after = 0};
    return Manifest("{}");
  });
  auto manifest = Client(*server)->GetManifest(kContext, "v1");
  ASSERT_TRUE(manifest.ok()) << manifest.error().message();
  EXPECT_EQ(asked, 3);
}

TEST(RepositoryTest, WaitsAsLongAsItIsAskedTo) {
  std::atomic<int> asked{0};
  auto server = Serve([&](const ServerRequest&) {
    if (asked++ == 0) return ServerReply{.status = 429, .headers = {{"Retry-After", "1"}}};
    return Manifest("{}");
  });
  int64_t begin = MonotonicNs();
  EXPECT_TRUE(Client(*server)->GetManifest(kContext, "v1").ok());
  EXPECT_GE(MonotonicNs() - begin, 1'000'000'000);
}

TEST(RepositoryTest, APauseEndsWithTheContext) {
  auto server = Serve([](const ServerRequest&) {
    return ServerReply{.status = 429, .headers = {{"Retry-After", "20"}}};
  });
  int64_t begin = MonotonicNs();
  EXPECT_EQ(Client(*server)->GetManifest(Context::WithTimeoutMs(200), "v1").code(),
            Code::kDeadlineExceeded);
  EXPECT_LT(MonotonicNs() - begin, 5'000'000'000);
}

TEST(RepositoryTest, BlobsAreCheckedAndBounded) {
  const std::string good = "good bytes";
  auto server = Serve([&](const ServerRequest& request) {
    ServerReply reply{.body = "evil bytes"};
    if (request.path.ends_with(DigestOf(good))) reply.body = good;
    if (request.path.ends_with(DigestOf("short"))) reply.body = "sho";
    if (request.path.ends_with(DigestOf("long"))) reply.body = std::string(100'000, 'l');
    return reply;
  });
  Client client(*server);
  EXPECT_EQ(*client->GetBlob(kContext, BlobOf(good)), good);
  EXPECT_EQ(server->requests()[0].path, "/v2/team/app/blobs/" + DigestOf(good));
  for (const char* bad : {"0123456789", "short", "long"}) {
    auto blob = client->GetBlob(kContext, BlobOf(bad));
    EXPECT_EQ(blob.code(), Code::kDataLoss) << bad;
    EXPECT_THAT(blob.error().message(), HasSubstr(DigestOf(bad)));
  }
}

// Serves a blob in pieces: each connection breaks after `piece` bytes.
class PieceServer {
 public:
  enum class Ranges { kHonoured, kIgnored, kWrong };
  PieceServer(const std::string& blob, size_t piece, Ranges ranges)
      : server_(Serve([=](const ServerRequest& request) {
          size_t begin = 0;
          std::string range = request.Header("range");
          ServerReply reply;
          if (!range.empty() && ranges != Ranges::kIgnored) {
            begin = *ParseNumber<size_t>(std::string_view(range).substr(6, range.size() - 7));
            reply.status = 206;
            reply.headers = {{"Content-Range", StrCat("bytes ", begin + (ranges == Ranges::kWrong),
                                                      "-", blob.size() - 1, "/", blob.size())}};
          }
          reply.body = blob.substr(begin);
          size_t end = ranges == Ranges::kIgnored && !range.empty() ? blob.size() : piece;
          if (end < reply.body.size()) reply.cut_after = end;
          return reply;
        })) {}
  const HttpServer& operator*() const { return *server_; }
  const HttpServer* operator->() const { return server_.get(); }

 private:
  std::unique_ptr<HttpServer> server_;
};

std::string LongBlob() {
  std::string blob;
  for (int i = 0; blob.size() < 500'000; ++i) blob += StrCat(i, ",");
  return blob;
}

TEST(ResumeTest, GoesOnWhereItWas) {
  const std::string blob = LongBlob();
  PieceServer server(blob, 200'000, PieceServer::Ranges::kHonoured);
  auto got = Client(*server)->GetBlob(kContext, BlobOf(blob));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(*got, blob);
  auto requests = server->requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].headers.count("range"), 0u);
  EXPECT_EQ(requests[2].Header("range"), "bytes=400000-");
}

TEST(ResumeTest, SkipsWhatAServerWithoutRangesRepeats) {
  const std::string blob = LongBlob();
  PieceServer server(blob, 200'000, PieceServer::Ranges::kIgnored);
  auto got = Client(*server)->GetBlob(kContext, BlobOf(blob));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(*got, blob);
  EXPECT_EQ(server->requests().size(), 2u);
}

TEST(ResumeTest, RefusesAnotherRange) {
  const std::string blob = LongBlob();
  PieceServer server(blob, 200'000, PieceServer::Ranges::kWrong);
  auto got = Client(*server)->GetBlob(kContext, BlobOf(blob));
  EXPECT_EQ(got.code(), Code::kDataLoss);
  EXPECT_THAT(got.error().message(), HasSubstr("range"));
}

TEST(ResumeTest, EndsWithoutProgress) {
  const std::string blob = LongBlob();
  auto server = Serve([&](const ServerRequest& request) {
    // The same 1000 bytes, over and over.
    ServerReply reply{.body = blob, .cut_after = 1000};
    if (request.path.ends_with(DigestOf("stalls"))) {
      reply = {.body = "stalls", .stall_after = 3};
    }
    return reply;
  });
  Client client(*server);
  auto truncated = client->GetBlob(kContext, BlobOf(blob));
  EXPECT_EQ(truncated.code(), Code::kDataLoss);
  EXPECT_THAT(truncated.error().message(), HasSubstr("truncated at 1000 of"));
  auto stalled = client->GetBlob(kContext, BlobOf("stalls"));
  EXPECT_EQ(stalled.code(), Code::kUnavailable);
  EXPECT_LE(server->requests().size(), 7u);
}

TEST(ResumeTest, ASinksFailureIsFinal) {
  const std::string blob = LongBlob();
  PieceServer server(blob, 200'000, PieceServer::Ranges::kHonoured);
  Client client(*server);
  Status status = client->StreamBlob(kContext, BlobOf(blob), [](std::string_view) -> Status {
    return Error(Code::kResourceExhausted, "disk full");
  });
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_EQ(server->requests().size(), 1u);
}

// A registry that wants a token, and the server that gives it out, in one.
class TokenRegistry {
 public:
  explicit TokenRegistry(const std::string& token_body) {
    server_ = Serve([this, token_body](const ServerRequest& request) {
      if (request.path == "/token") {
        ++tokens_;
        if (request.Header("authorization") == Wrong())
          return ServerReply{.status = 401, .body = "pw"};
        return ServerReply{.body = token_body};
      }
      if (request.Header("authorization") == "Bearer good") return Manifest("{}");
      return ServerReply{
          .status = 401,
          .headers = {
              {"WWW-Authenticate",
               StrCat("Bearer realm=\"http://", server_->address(),
                      "/token\",service=\"a registry\",scope=\"repository:team/app:pull\"")}}};
    });
  }
  static std::string Wrong() { return "Basic dXNlcjp3cm9uZ3B3"; }  // user:wrongpw
  const HttpServer& operator*() const { return *server_; }
  int tokens() const { return tokens_; }

 private:
  std::atomic<int> tokens_{0};
  std::unique_ptr<HttpServer> server_;
};

const ServerRequest& TokenRequestIn(const std::vector<ServerRequest>& requests) {
  for (const ServerRequest& request : requests) {
    if (request.path == "/token") return request;
  }
  ADD_FAILURE() << "nobody asked for a token";
  return requests.front();
}

TEST(TokenTest, IsFetchedOnceAndKept) {
  TokenRegistry registry(R"({"token":"good","expires_in":300})");
  Client client(*registry, {"user", "pass", "", ""});
  ASSERT_TRUE(client->GetManifest(kContext, "v1").ok());
  ASSERT_TRUE(client->GetManifest(kContext, "v1").ok());
  EXPECT_EQ(registry.tokens(), 1);
  auto requests = (*registry).requests();
  EXPECT_EQ(requests.size(), 4u);
  const ServerRequest& token = TokenRequestIn(requests);
  EXPECT_EQ(token.Header("authorization"), "Basic dXNlcjpwYXNz");
  EXPECT_EQ(token.query, "service=a%20registry&scope=repository%3ateam%2fapp%3apull");
}

TEST(TokenTest, AnonymousUsersGetOneToo) {
  TokenRegistry registry(R"({"access_token":"good"})");
  EXPECT_TRUE(Client(*registry)->GetManifest(kContext, "v1").ok());
  EXPECT_EQ(TokenRequestIn((*registry).requests()).headers.count("authorization"), 0u);
}

TEST(TokenTest, IdentityTokensArePosted) {
  TokenRegistry registry(R"({"access_token":"good"})");
  EXPECT_TRUE(Client(*registry, {"", "", "id&tok", ""})->GetManifest(kContext, "v1").ok());
  const ServerRequest token = TokenRequestIn((*registry).requests());
  EXPECT_EQ(token.method, "POST");
  EXPECT_THAT(token.body, HasSubstr("grant_type=refresh_token"));
  EXPECT_THAT(token.body, HasSubstr("refresh_token=id%26tok"));
}

TEST(TokenTest, PasswordsArePostedWhereGetIsUnknown) {
  std::unique_ptr<HttpServer> server;
  server = Serve([&](const ServerRequest& request) {
    if (request.path == "/token" && request.method != "POST") return ServerReply{.status = 405};
    if (request.path == "/token") return ServerReply{.body = R"({"access_token":"good"})"};
    if (request.Header("authorization") == "Bearer good") return Manifest("{}");
    return ServerReply{.status = 401,
                       .headers = {{"WWW-Authenticate", StrCat("Bearer realm=\"http://",
                                                               server->address(), "/token\"")}}};
  });
  EXPECT_TRUE(Client(*server, {"user", "p&w", "", ""})->GetManifest(kContext, "v1").ok());
  const ServerRequest post = server->requests().at(2);
  EXPECT_EQ(post.method, "POST");
  EXPECT_EQ(post.Header("content-type"), "application/x-www-form-urlencoded");
  EXPECT_THAT(post.body, HasSubstr("grant_type=password&username=user&password=p%26w"));
  EXPECT_THAT(post.body, HasSubstr("scope=repository%3ateam%2fapp%3apull"));
}

TEST(TokenTest, RegistryTokensAreUsedAsTheyAre) {
  TokenRegistry registry("{}");
  EXPECT_TRUE(Client(*registry, {"", "", "", "good"})->GetManifest(kContext, "v1").ok());
  EXPECT_EQ(Client(*registry, {"", "", "", "bad"})->GetManifest(kContext, "v1").code(),
            Code::kUnauthenticated);
  EXPECT_EQ(registry.tokens(), 0);
}

TEST(TokenTest, AnExpiredOneIsReplaced) {
  TokenRegistry registry(R"({"token":"good","expires_in":0})");
  Client client(*registry);
  EXPECT_TRUE(client->GetManifest(kContext, "v1").ok());
  EXPECT_TRUE(client->GetManifest(kContext, "v1").ok());
  EXPECT_EQ(registry.tokens(), 2);
}

TEST(TokenTest, SecretsStayOutOfErrors) {
  TokenRegistry registry("{}");
  auto refused = Client(*registry, {"user", "wrongpw", "", ""})->GetManifest(kContext, "v1");
  EXPECT_EQ(refused.code(), Code::kUnauthenticated);
  EXPECT_THAT(refused.error().message(), HasSubstr("token server"));
  EXPECT_THAT(refused.error().message(), HasSubstr("401"));
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("pw")));
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("dXNlc")));
}

TEST(TokenTest, BadAnswersAreRefused) {
  const std::string table[] = {
      "",
      "no json",
      "[]",
      "{}",
      R"({"token":5})",
      R"({"token":"a\r\nX-Evil: 1"})",
      StrCat(R"({"token":")", std::string(70'000, 't'), R"("})"),
  };
  for (const std::string& body : table) {
    TokenRegistry registry(body);
    EXPECT_EQ(Client(*registry)->GetManifest(kContext, "v1").code(), Code::kDataLoss)
        << body.substr(0, 60);
  }
  TokenRegistry huge(std::string(2 << 20, ' '));
  EXPECT_EQ(Client(*huge)->GetManifest(kContext, "v1").code(), Code::kResourceExhausted);
  TokenRegistry stubborn(R"({"token":"bad"})");
  EXPECT_EQ(Client(*stubborn)->GetManifest(kContext, "v1").code(), Code::kUnauthenticated);
  EXPECT_EQ(stubborn.tokens(), 1);
}

TEST(BasicTest, IsSentOnlyWhereItIsAskedFor) {
  auto server = Serve([](const ServerRequest& request) {
    if (request.Header("authorization") == "Basic dXNlcjpwYXNz") return Manifest("{}");
    return ServerReply{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}};
  });
  Client client(*server, {"user", "pass", "", ""});
  EXPECT_TRUE(client->GetManifest(kContext, "v1").ok());
  EXPECT_TRUE(client->GetManifest(kContext, "v1").ok());
  auto requests = server->requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].headers.count("authorization"), 0u);
  EXPECT_EQ(Client(*server)->GetManifest(kContext, "v1").code(), Code::kUnauthenticated);
  EXPECT_EQ(Client(*server, {"user", "no", "", ""})->GetManifest(kContext, "v1").code(),
            Code::kUnauthenticated);
}

TEST(BasicTest, AnotherHostsChallengeIsNotAnswered) {
  auto thief = Serve([](const ServerRequest&) {
    return ServerReply{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}};
  });
  auto server = Serve([&](const ServerRequest&) {
    return ServerReply{.status = 307,
                       .headers = {{"Location", StrCat("http://", thief->address(), "/x")}}};
  });
  auto blob = Client(*server, {"user", "pass", "", ""})->GetBlob(kContext, BlobOf("x"));
  EXPECT_EQ(blob.code(), Code::kUnauthenticated);
  ASSERT_EQ(thief->requests().size(), 1u);
  EXPECT_EQ(thief->requests()[0].headers.count("authorization"), 0u);
}

TEST(TlsTest, ATokenServerWithoutTlsGetsNoCredentials) {
  TempDir dir;
  auto files = MakeCertificate(dir.path());
  ASSERT_TRUE(files.ok()) << files.error().message();
  auto thief = Serve([](const ServerRequest&) { return ServerReply{.body = R"({"token":"t"})"}; });
  auto server = HttpServer::StartTls(
      [&](const ServerRequest&) {
        return ServerReply{.status = 401,
                           .headers = {{"WWW-Authenticate", StrCat("Bearer realm=\"http://",
                                                                   thief->address(), "/token\"")}}};
      },
      *files);
  ASSERT_TRUE(server.ok()) << server.error().message();
  auto tls = std::make_shared<HostOptions>();
  tls->ca_pem = *ReadFile(files->certificate);
  Client client(**server, {"user", "pass", "", ""}, tls);
  auto manifest = client->GetManifest(kContext, "v1");
  EXPECT_EQ(manifest.code(), Code::kPermissionDenied) << manifest.error().message();
  EXPECT_TRUE(thief->requests().empty());
}

}  // namespace
}  // namespace berth::image
