// Registries and mirrors that misbehave, on real sockets: what is done about each fault.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>

#include "base/time.h"
#include "image/digest.h"
#include "image/registry.h"
#include "tests/testing/http_server.h"

namespace berth::image {
namespace {

using berth::testing::HttpServer;
using berth::testing::ServerReply;
using berth::testing::ServerRequest;
using ::testing::HasSubstr;

const Context kContext = Context::WithTimeoutMs(100'000);

std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler) {
  auto server = HttpServer::Start(std::move(handler));
  EXPECT_TRUE(server.ok()) << server.error().message();
  return std::move(*server);
}

const std::string& Blob() {
  static const std::string blob = [] {
    std::string out;
    for (int i = 0; out.size() < 600'000; ++i) out += StrCat(i, ",");
    return out;
  }();
  return blob;
}

size_t RangeBegin(const ServerRequest& request) {
  const std::string range = request.Header("range");
  return range.empty() ? 0 : *ParseNumber<size_t>(range.substr(6, range.find('-') - 6));
}

// What an honest server answers to a request for the blob.
ServerReply Honest(const ServerRequest& request) {
  ServerReply reply;
  const size_t begin = RangeBegin(request);
  if (!request.Header("range").empty()) {
    reply.status = 206;
    reply.headers = {
        {"Content-Range", StrCat("bytes ", begin, "-", Blob().size() - 1, "/", Blob().size())}};
  }
  reply.body = Blob().substr(begin);
  return reply;
}

AuthScope RouteTo(const std::string& address, bool is_mirror = false) {
  AuthScope scope;
  scope.endpoint.base_url = StrCat("http://", address, "/v2");
  scope.endpoint.host = address;
  scope.endpoint.is_mirror = is_mirror;
  if (is_mirror) scope.endpoint.query = "ns=r.example";
  scope.repository = "team/app";
  return scope;
}

class Client {
 public:
  explicit Client(std::vector<AuthScope> routes)
      : authorizer_(http_), repository_(http_, authorizer_, std::move(routes)) {}
  Repository* operator->() { return &repository_; }
  // The blob's bytes as the sink got them.
  Status Stream(std::string* got) {
    return repository_.StreamBlob(kContext, descriptor_, [&](std::string_view bytes) {
      got->append(bytes);
      return Ok();
    });
  }
  const Descriptor descriptor_{"application/octet-stream", DigestOf(Blob()),
                               static_cast<int64_t>(Blob().size())};

 private:
  HttpClient http_{HttpClientOptions{.stall_timeout_ms = 300}};
  Authorizer authorizer_;
  Repository repository_;
};

// A fault, by the number of the request and the request.
using Fault = std::function<ServerReply(int n, const ServerRequest& request)>;

ServerReply Cut(const ServerRequest& request, size_t after) {
  ServerReply reply = Honest(request);
  if (after < reply.body.size()) reply.cut_after = after;
  return reply;
}
ServerReply Stalled(const ServerRequest& request, size_t after) {
  ServerReply reply = Honest(request);
  reply.stall_after = after;
  return reply;
}
ServerReply Short(const ServerRequest& request, size_t size) {
  ServerReply reply = Honest(request);
  reply.body.resize(std::min(size, reply.body.size()));
  return reply;
}

// Faults that pass: one server is enough.
TEST(RegistryFaults, WhatPassesIsResumedOnTheSameServer) {
  struct Row {
    const char* what;
    Fault fault;
    std::vector<size_t> begins;  // of the requests
  };
  const Row table[] = {
      {"reset",
       [](int n, const auto& r) { return n == 0 ? Cut(r, 200'000) : Honest(r); },
       {0, 200'000}},
      {"reset at once",
       [](int n, const auto& r) { return n == 0 ? Cut(r, 0) : Honest(r); },
       {0, 0}},
      {"several resets", [](int, const auto& r) { return Cut(r, 250'000); }, {0, 250'000, 500'000}},
      {"stall",
       [](int n, const auto& r) { return n == 0 ? Stalled(r, 100'000) : Honest(r); },
       {0, 100'000}},
      {"silence", [](int n, const auto& r) { return n == 0 ? Stalled(r, 0) : Honest(r); }, {0, 0}},
      {"truncated by its own account",
       [](int n, const auto& r) { return n == 0 ? Short(r, 300'000) : Honest(r); },
       {0, 300'000}},
      {"range not supported",
       [](int n, const auto& r) {
         ServerRequest whole = r;
         whole.headers.erase("range");
         return n == 0 ? Cut(r, 200'000) : Honest(whole);
       },
       {0, 200'000}},
      {"500 in the middle",
       [](int n, const auto& r) {
         return n == 0 ? Cut(r, 200'000) : n == 1 ? ServerReply{.status = 500} : Honest(r);
       },
       {0, 200'000, 200'000}},
      {"429 with a time",
       [](int n, const auto& r) {
         return n == 0 ? ServerReply{.status = 429, .headers = {{"Retry-After", "1"}}} : Honest(r);
       },
       {0, 0}},
      {"503 with a date that has passed",
       [](int n, const auto& r) {
         return n == 0 ? ServerReply{.status = 503,
                                     .headers = {{"Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"}}}
                       : Honest(r);
       },
       {0, 0}},
  };
  for (const Row& row : table) {
    std::atomic<int> asked{0};
    auto server = Serve([&](const ServerRequest& r) { return row.fault(asked++, r); });
    std::string got;
    Status status = Client({RouteTo(server->address())}).Stream(&got);
    EXPECT_TRUE(status.ok()) << row.what << ": " << status.error().message();
    EXPECT_TRUE(got == Blob()) << row.what;
    std::vector<size_t> begins;
    for (const ServerRequest& request : server->requests()) begins.push_back(RangeBegin(request));
    EXPECT_EQ(begins, row.begins) << row.what;
  }
}

// Faults that stay: the next server goes on, and without one the error says who, what and why.
TEST(RegistryFaults, WhatStaysIsLeftToTheNextServer) {
  struct Row {
    const char* what;
    Fault fault;
    size_t next_begins;  // what the next server is asked for
    Code code;           // without a next server
    const char* cause;
  };
  const Row table[] = {
      {"always reset",
       [](int, const auto& r) { return Cut(r, r.Header("range").empty() ? 5000 : 0); }, 5000,
       Code::kDataLoss, "truncated at 5000 of"},
      {"always silent", [](int, const auto& r) { return Stalled(r, 0); }, 0, Code::kUnavailable,
       "nothing came for 300 ms"},
      {"too long",
       [](int, const auto& r) {
         ServerReply reply = Honest(r);
         reply.body += "x";
         return reply;
       },
       0, Code::kDataLoss, "larger than"},
      {"another range",
       [](int n, const auto& r) {
         if (n == 0) return Cut(r, 7000);
         ServerReply reply = Honest(r);
         reply.headers = {{"Content-Range", "bytes 1-2/3"}};
         return reply;
       },
       7000, Code::kDataLoss, "is not the one asked for"},
      {"429 for an hour",
       [](int, const auto&) {
         return ServerReply{.status = 429, .headers = {{"Retry-After", "3600"}}};
       },
       0, Code::kUnavailable, "answered 429 (try again in 3600 s)"},
      {"500", [](int, const auto&) { return ServerReply{.status = 500}; }, 0, Code::kUnavailable,
       "answered 500"},
      {"404", [](int, const auto&) { return ServerReply{.status = 404}; }, 0, Code::kNotFound,
       "answered 404"},
      {"403", [](int, const auto&) { return ServerReply{.status = 403}; }, 0,
       Code::kPermissionDenied, "answered 403"},
      {"416 in the middle",
       [](int n, const auto& r) { return n == 0 ? Cut(r, 9000) : ServerReply{.status = 416}; },
       9000, Code::kUnknown, "answered 416"},
      {"a redirect to storage that is down",
       [](int, const auto&) {
         return ServerReply{.status = 307, .headers = {{"Location", "http://127.0.0.1:1/x?sig=y"}}};
       },
       0, Code::kUnavailable, "http://127.0.0.1:1/x: cannot connect"},
  };
  for (const Row& row : table) {
    std::atomic<int> asked{0};
    auto mirror = Serve([&](const ServerRequest& r) { return row.fault(asked++, r); });
    auto server = Serve(Honest);
    std::string got;
    Status status =
        Client({RouteTo(mirror->address(), true), RouteTo(server->address())}).Stream(&got);
    EXPECT_TRUE(status.ok()) << row.what << ": " << status.error().message();
    EXPECT_TRUE(got == Blob()) << row.what;
    ASSERT_LE(server->requests().size(), 1u) << row.what;
    if (!server->requests().empty() && row.next_begins > 0) {
      EXPECT_EQ(RangeBegin(server->requests()[0]), row.next_begins) << row.what;
    }
    EXPECT_EQ(mirror->requests()[0].query, "ns=r.example");

    asked = 0;
    std::string unused;
    const int64_t begin = MonotonicNs();
    Client alone({RouteTo(mirror->address())});
    Status error = alone.Stream(&unused);
    EXPECT_EQ(error.code(), row.code) << row.what;
    if (error.ok()) continue;
    EXPECT_THAT(error.error().message(), HasSubstr(row.cause)) << row.what;
    EXPECT_THAT(error.error().message(), HasSubstr(alone.descriptor_.digest)) << row.what;
    EXPECT_LT(MonotonicNs() - begin, 20'000'000'000) << row.what;
  }
}

TEST(RegistryFaults, AMirrorThatIsDownIsNotAskedForEveryLayer) {
  auto mirror =
      Serve([](const ServerRequest&) { return ServerReply{.body = "x", .stall_after = 0}; });
  auto server = Serve(Honest);
  Client client({RouteTo(mirror->address(), true), RouteTo(server->address())});
  for (int i = 0; i < 3; ++i) {
    std::string got;
    ASSERT_TRUE(client.Stream(&got).ok());
  }
  EXPECT_LE(mirror->requests().size(), 2u);
  EXPECT_EQ(server->requests().size(), 3u);
}

TEST(RegistryFaults, WhoeverGaveFalseBytesIsNotAskedAgain) {
  auto mirror = Serve(
      [](const ServerRequest&) { return ServerReply{.body = std::string(Blob().size(), 'x')}; });
  auto server = Serve(Honest);
  Client client({RouteTo(mirror->address(), true), RouteTo(server->address())});
  std::string got;
  ASSERT_TRUE(client.Stream(&got).ok());
  EXPECT_NE(got, Blob());
  EXPECT_TRUE(client->Distrust(client.descriptor_.digest));
  got.clear();
  ASSERT_TRUE(client.Stream(&got).ok());
  EXPECT_TRUE(got == Blob());
  EXPECT_FALSE(client->Distrust(client.descriptor_.digest));
  EXPECT_EQ(mirror->requests().size(), 1u);
}

TEST(RegistryFaults, ManifestsComeFromWhoMayAndCanGiveThem) {
  const std::string manifest = R"({"schemaVersion":2})";
  auto good = [&](const ServerRequest&) {
    return ServerReply{.headers = {{"Docker-Content-Digest", DigestOf(manifest)}},
                       .body = manifest};
  };
  struct Row {
    const char* what;
    ServerReply reply;
  };
  const Row table[] = {
      {"a page", {.body = "<html>log in</html>"}},
      {"another digest", {.headers = {{"Docker-Content-Digest", DigestOf("x")}}, .body = manifest}},
      {"404", {.status = 404}},
      {"401 without a way", {.status = 401}},
      {"no HTTP", {.raw = "garbage\r\n\r\n"}},
  };
  for (const Row& row : table) {
    auto mirror = Serve([&](const ServerRequest&) { return row.reply; });
    auto server = Serve(good);
    Client client({RouteTo(mirror->address(), true), RouteTo(server->address())});
    auto got = client->GetManifest(kContext, "v1");
    ASSERT_TRUE(got.ok()) << row.what << ": " << got.error().message();
    EXPECT_EQ(got->bytes, manifest) << row.what;
    Client alone({RouteTo(mirror->address(), true), RouteTo("127.0.0.1:1")});
    auto failed = alone->GetManifest(kContext, "v1");
    EXPECT_EQ(failed.code(), Code::kUnavailable) << row.what;
    EXPECT_THAT(failed.error().message(), HasSubstr(mirror->address())) << row.what;
    EXPECT_THAT(failed.error().message(), HasSubstr("; then GET http://127.0.0.1:1/v2/"))
        << row.what;
  }

  // A mirror that may not say what a tag is gives what the registry says that it is.
  auto mirror = Serve(good);
  auto server = Serve(good);
  AuthScope pull_only = RouteTo(mirror->address(), true);
  pull_only.endpoint.resolve = false;
  Client client({pull_only, RouteTo(server->address())});
  ASSERT_TRUE(client->GetManifest(kContext, "v1").ok());
  ASSERT_EQ(server->requests().size(), 1u);
  EXPECT_EQ(server->requests()[0].method, "HEAD");
  ASSERT_EQ(mirror->requests().size(), 1u);
  EXPECT_TRUE(mirror->requests()[0].path.ends_with(DigestOf(manifest)));

  AuthScope nothing = RouteTo(server->address());
  nothing.endpoint.pull = nothing.endpoint.resolve = false;
  EXPECT_EQ(Client({nothing})->GetManifest(kContext, "v1").code(), Code::kFailedPrecondition);
}

// A token server that gives a new token each time, and a registry that takes only the newest.
TEST(RegistryFaults, ATokenMayExpireInTheMiddleOfALayer) {
  std::atomic<int> tokens{0};
  std::atomic<bool> expired{false};
  std::unique_ptr<HttpServer> server;
  server = Serve([&](const ServerRequest& request) {
    if (request.path == "/token") {
      expired = false;
      return ServerReply{.body = StrCat(R"({"expires_in":300,"token":"t)", ++tokens, "\"}")};
    }
    if (expired || request.Header("authorization") != StrCat("Bearer t", tokens.load())) {
      return ServerReply{.status = 401,
                         .headers = {{"WWW-Authenticate", StrCat("Bearer realm=\"http://",
                                                                 server->address(), "/token\"")}}};
    }
    if (!request.Header("range").empty()) return Honest(request);
    expired = true;
    return Cut(request, 100'000);
  });
  std::string got;
  Status status = Client({RouteTo(server->address())}).Stream(&got);
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_TRUE(got == Blob());
  EXPECT_EQ(tokens, 2);
}

// Storage that breaks: its URL is signed for one request, so the registry is asked again.
TEST(RegistryFaults, ARedirectIsAskedForAgain) {
  std::atomic<int> asked{0};
  auto storage = Serve([&](const ServerRequest& request) {
    EXPECT_EQ(request.headers.count("authorization"), 0u);
    return asked++ == 0 ? Cut(request, 100'000) : Honest(request);
  });
  auto server = Serve([&](const ServerRequest&) {
    return ServerReply{
        .status = 307,
        .headers = {{"Location", StrCat("http://", storage->address(), "/b?sig=", asked.load())}}};
  });
  AuthScope scope = RouteTo(server->address());
  scope.credentials.registry_token = "tok";
  std::string got;
  Status status = Client({scope}).Stream(&got);
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_TRUE(got == Blob());
  EXPECT_EQ(server->requests().size(), 2u);
  EXPECT_EQ(server->requests()[0].Header("authorization"), "Bearer tok");
  EXPECT_EQ(storage->requests()[1].query, "sig=1");
}

}  // namespace
}  // namespace berth::image
