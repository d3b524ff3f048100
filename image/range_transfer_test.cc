// Large blobs by several ranges at a time, from servers on real sockets.
#include "image/range_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/time.h"
#include "image/digest.h"
#include "image/registry.h"
#include "tests/testing/http_server.h"

namespace berth::image {
namespace {

using berth::testing::HttpServer;
using berth::testing::ServerReply;
using berth::testing::ServerRequest;

const Context kContext = Context::WithTimeoutMs(100'000);
constexpr size_t kSize = RangeTransfer::kMinBytes + 5'000'001;

const std::string& Blob() {
  static const std::string blob = [] {
    std::string out;
    out.reserve(kSize + 20);
    for (int i = 0; out.size() < kSize; ++i) out += StrCat(i, ",");
    out.resize(kSize);
    return out;
  }();
  return blob;
}

ServerReply Honest(const ServerRequest& request) {
  const std::string range = request.Header("range");
  // The first connection is slow: what takes the time is the server, not the sink.
  if (range.empty()) return {.body = Blob(), .bytes_per_s = 20'000'000};
  const size_t dash = range.find('-');
  const size_t first = *ParseNumber<size_t>(range.substr(6, dash - 6));
  const size_t last =
      dash + 1 == range.size() ? kSize - 1 : *ParseNumber<size_t>(range.substr(dash + 1));
  return {.status = 206,
          .headers = {{"Content-Range", StrCat("bytes ", first, "-", last, "/", kSize)}},
          .body = Blob().substr(first, last - first + 1)};
}

class RangeTransferTest : public ::testing::Test {
 protected:
  Status Stream(const HttpServer& server, const BlobSink& sink, int slots = 4) {
    HttpClient http(HttpClientOptions{.stall_timeout_ms = 20'000});
    Authorizer authorizer(http);
    RangeSlots range_slots(slots);
    AuthScope scope;
    scope.endpoint.base_url = StrCat("http://", server.address(), "/v2");
    scope.endpoint.host = server.address();
    scope.repository = "app";
    scope.credentials.registry_token = "tok";
    Repository repository(http, authorizer, {scope}, &range_slots);
    const Descriptor blob{"", DigestOf(""), static_cast<int64_t>(kSize)};
    Status status = repository.StreamBlob(kContext, blob, sink);
    EXPECT_EQ(range_slots.Take(slots), slots < 2 ? 0 : slots);  // none is lost
    return status;
  }
  void ExpectWhole(const HttpServer& server, int slots = 4) {
    std::string got(kSize, '\0');  // all pages are there: it is a fast sink
    got.clear();
    Status status = Stream(
        server,
        [&](std::string_view bytes) {
          got.append(bytes);
          return Ok();
        },
        slots);
    EXPECT_TRUE(status.ok()) << status.error().message();
    EXPECT_TRUE(got == Blob());
  }
};

TEST_F(RangeTransferTest, SeveralConnectionsAndTheBytesInOrder) {
  std::atomic<int> n{0};
  auto server = HttpServer::Start([&](const ServerRequest& request) {
    // Later chunks overtake earlier ones.
    if (n++ % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return Honest(request);
  });
  ASSERT_TRUE(server.ok());
  ExpectWhole(**server);
  // One to find out that the server is what takes the time, then one for each chunk.
  constexpr size_t kRest = kSize - static_cast<size_t>(BlobTransfer::kProbeBytes);
  constexpr size_t kChunks = kRest / RangeTransfer::kChunkBytes;
  EXPECT_GE((*server)->requests().size(), kChunks);
  EXPECT_LE((*server)->requests().size(), kChunks + 2);
  EXPECT_GE((*server)->connections(), 3);
  EXPECT_LE((*server)->connections(), 5);
  const size_t before = (*server)->requests().size();
  ExpectWhole(**server, 1);
  EXPECT_EQ((*server)->requests().size(), before + 2);  // it goes on with one connection
}

TEST_F(RangeTransferTest, OneConnectionWhereTheSinkIsSlower) {
  auto server = HttpServer::Start([](const ServerRequest&) { return ServerReply{.body = Blob()}; });
  ASSERT_TRUE(server.ok());
  size_t got = 0;
  Status status = Stream(**server, [&](std::string_view bytes) {
    // As an unpacker that takes 16 MiB a second.
    got += bytes.size();
    if (got < 8 << 20) std::this_thread::sleep_for(std::chrono::milliseconds(bytes.size() >> 14));
    return Ok();
  });
  EXPECT_TRUE(status.ok()) << status.error().message();
  EXPECT_EQ(got, kSize);
  EXPECT_EQ((*server)->requests().size(), 1u);
}

TEST_F(RangeTransferTest, WithoutRangesItIsOneStream) {
  auto server = HttpServer::Start(
      [](const ServerRequest&) { return ServerReply{.body = Blob(), .bytes_per_s = 100'000'000}; });
  ASSERT_TRUE(server.ok());
  ExpectWhole(**server);
  EXPECT_LE((*server)->requests().size(), 6u);
}

TEST_F(RangeTransferTest, WhatBreaksIsAskedForAgain) {
  std::atomic<int> n{0};
  auto server = HttpServer::Start([&](const ServerRequest& request) {
    ServerReply reply = Honest(request);
    const int i = n++;
    if (i % 5 == 3) reply.cut_after = 1000;
    if (i % 11 == 7) return ServerReply{.status = 503};
    return reply;
  });
  ASSERT_TRUE(server.ok());
  ExpectWhole(**server);
}

TEST_F(RangeTransferTest, WhereAllRangesFailTheStreamGoesOn) {
  std::atomic<int> n{0};
  auto server = HttpServer::Start([&](const ServerRequest& request) {
    ServerReply reply = Honest(request);
    if (n++ > 10 && !request.Header("range").ends_with('-')) {
      reply.headers = {{"Content-Range", "bytes 0-1/2"}};
    }
    return reply;
  });
  ASSERT_TRUE(server.ok());
  ExpectWhole(**server);
  EXPECT_TRUE((*server)->requests().back().Header("range").ends_with('-'));
}

TEST_F(RangeTransferTest, StorageIsAskedDirectlyAsLongAsItAnswers) {
  std::atomic<int> signature{0};
  std::atomic<int> asked{0};
  auto storage = HttpServer::Start([&](const ServerRequest& request) {
    EXPECT_EQ(request.headers.count("authorization"), 0u);
    if (++asked == 20) ++signature;
    if (request.query != StrCat("sig=", signature.load())) return ServerReply{.status = 403};
    return Honest(request);
  });
  ASSERT_TRUE(storage.ok());
  auto server = HttpServer::Start([&](const ServerRequest&) {
    return ServerReply{.status = 307,
                       .headers = {{"Location", StrCat("http://", (*storage)->address(),
                                                       "/b?sig=", signature.load())}}};
  });
  ASSERT_TRUE(server.ok());
  ExpectWhole(**server);
  EXPECT_LE((*server)->requests().size(), 12u);
  EXPECT_GE((*storage)->requests().size(), 33u);
}

TEST_F(RangeTransferTest, ASinksFailureEndsEverythingAtOnce) {
  auto server = HttpServer::Start([&](const ServerRequest& request) {
    ServerReply reply = Honest(request);
    if (!request.Header("range").starts_with("bytes=0-")) reply.stall_after = 10;
    return reply;
  });
  ASSERT_TRUE(server.ok());
  const int64_t begin = MonotonicNs();
  Status status = Stream(**server, [](std::string_view) -> Status {
    return Error(Code::kResourceExhausted, "disk full");
  });
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_EQ(status.error().message(), "disk full");
  EXPECT_LT(MonotonicNs() - begin, 10'000'000'000);
}

}  // namespace
}  // namespace berth::image
