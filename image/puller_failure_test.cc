// Pulls from a registry that misbehaves, and pulls that meet each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "base/time.h"
#include "image/digest.h"
#include "image/puller.h"
#include "snapshotter/overlay.h"
#include "tests/testing/fake_registry.h"
#include "tests/testing/puller_fixture.h"

namespace berth::image {
namespace {

using berth::testing::BuildImage;
using berth::testing::BuiltImage;
using berth::testing::Compress;
using berth::testing::FakeRegistry;
using berth::testing::MakeTar;
using berth::testing::PullerFixture;
using berth::testing::ServerReply;
using berth::testing::ServerRequest;
using berth::testing::TestImage;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string RandomText(size_t size, unsigned seed) {
  std::string out;
  for (uint32_t x = seed; out.size() < size;) {
    x = x * 1664525 + 1013904223;
    out += static_cast<char>('a' + (x >> 24) % 26);
  }
  return out;
}

std::string LayerTar(const std::string& name, size_t size = 400'000) {
  return MakeTar({{.path = name, .content = RandomText(size, static_cast<unsigned>(name[0]))}});
}

BuiltImage ImageOf(const std::vector<std::string>& tars) {
  TestImage image;
  for (const std::string& tar : tars) image.layers.push_back({tar});
  image.config = {{"Labels", {{"layers", StrCat(tars.size())}}}};
  return BuildImage(image);
}

// What a request for the blob with the digest is answered.
FakeRegistry::Hook OnBlob(const std::string& digest, const std::function<ServerReply()>& reply) {
  return [=](const ServerRequest& request) -> std::optional<ServerReply> {
    if (!request.path.ends_with(digest)) return std::nullopt;
    return reply();
  };
}

class PullerFailureTest : public PullerFixture {
 protected:
  PullerFailureTest() : PullerFixture(snapshotter::OpenOverlay) {}

  void SetUp() override {
    PullerFixture::SetUp();
    if (IsSkipped()) return;
    PullerOptions options;
    options.stall_timeout_ms = 1000;
    Open(options);
  }
  std::string Ref(const std::string& tag) { return StrCat(registry_.address(), "/app:", tag); }
  void ExpectNothingButLayers(const std::set<std::string>& layers) {
    EXPECT_TRUE(store_->List().empty());
    EXPECT_EQ(Layers(), layers);
    EXPECT_THAT(Staged(), IsEmpty());
  }
  FakeRegistry registry_;
};

TEST_F(PullerFailureTest, ABadLayerLeavesNothingAndTheNextPullWorks) {
  const BuiltImage built = ImageOf({LayerTar("a"), LayerTar("b", 1000)});
  const std::string bad = built.layers[0].digest;
  const std::string whole = built.layers[0].bytes;
  std::string flipped = whole;
  flipped[flipped.size() / 2] ^= 1;
  struct Row {
    const char* what;
    ServerReply reply;
    Code code;
  };
  const Row table[] = {
      {"one bit", {.body = flipped}, Code::kDataLoss},
      {"another gzip", {.body = Compress(LayerTar("c"), Compression::kGzip)}, Code::kDataLoss},
      {"garbage", {.body = std::string(whole.size(), 'g')}, Code::kDataLoss},
      {"nothing", {.body = ""}, Code::kDataLoss},
      {"short, and says so", {.body = whole.substr(0, 5000)}, Code::kDataLoss},
      {"truncated", {.body = whole, .cut_after = 5000}, Code::kDataLoss},
      {"too long", {.body = whole + "x"}, Code::kDataLoss},
      {"stalled", {.body = whole, .stall_after = 5000}, Code::kUnavailable},
      {"status 500", {.status = 500}, Code::kUnavailable},
      {"status 404", {.status = 404}, Code::kNotFound},
      {"status 403", {.status = 403}, Code::kPermissionDenied},
      {"no HTTP", {.raw = "garbage\r\n\r\n"}, Code::kUnavailable},
  };
  registry_.Add("v1", built);
  for (const Row& row : table) {
    FakeRegistry::HookScope hook(registry_, OnBlob(bad, [&] { return row.reply; }));
    auto image = Pull(Ref("v1"));
    ASSERT_FALSE(image.ok()) << row.what;
    EXPECT_EQ(image.code(), row.code) << row.what << ": " << image.error().message();
    EXPECT_THAT(image.error().message(), HasSubstr(bad)) << row.what;
    EXPECT_THAT(image.error().message(), HasSubstr(Ref("v1"))) << row.what;
    EXPECT_FALSE(snapshotter_->HasLayer(built.diff_ids[0])) << row.what;
    EXPECT_TRUE(store_->List().empty()) << row.what;
    EXPECT_THAT(Staged(), IsEmpty()) << row.what;
  }
  registry_.SetHook({});
  auto image = Pull(Ref("v1"));
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_TRUE(snapshotter_->HasLayer(built.diff_ids[0]));
}

TEST_F(PullerFailureTest, ALayerOfAnotherDiffIdIsRefused) {
  BuiltImage built = ImageOf({LayerTar("a", 1000)});
  // The blob is what the manifest says; the configuration promises other content.
  std::string lie = DigestOf("other content");
  built.config.bytes.replace(built.config.bytes.find(built.diff_ids[0]), lie.size(), lie);
  std::string digest = DigestOf(built.config.bytes);
  built.manifest.replace(built.manifest.find(built.config.digest), digest.size(), digest);
  built.config.digest = digest;
  built.digest = DigestOf(built.manifest);
  registry_.Add("v1", built);
  EXPECT_EQ(Pull(Ref("v1")).code(), Code::kDataLoss);
  ExpectNothingButLayers({});
}

TEST_F(PullerFailureTest, BadDocumentsAreRefusedBeforeAnyLayer) {
  const BuiltImage good = ImageOf({LayerTar("a", 1000)});
  auto set_manifest = [&](const Json& manifest) {
    BuiltImage bad = good;
    bad.manifest = manifest.dump();
    bad.digest = DigestOf(bad.manifest);
    registry_.Add("bad", bad);
  };
  Json manifest = *ParseJson(good.manifest);
  manifest["manifests"] = Json::array();
  set_manifest(manifest);
  EXPECT_EQ(Pull(Ref("bad")).code(), Code::kDataLoss);

  manifest = *ParseJson(good.manifest);
  manifest["layers"].push_back(manifest["layers"][0]);
  set_manifest(manifest);
  auto count = Pull(Ref("bad"));
  EXPECT_EQ(count.code(), Code::kDataLoss);
  EXPECT_THAT(count.error().message(), HasSubstr("2 layers"));

  manifest = *ParseJson(good.manifest);
  manifest["layers"][0]["mediaType"] = "application/x-unknown";
  set_manifest(manifest);
  auto type = Pull(Ref("bad"));
  EXPECT_EQ(type.code(), Code::kUnimplemented);
  EXPECT_THAT(type.error().message(), HasSubstr("application/x-unknown"));

  registry_.Add("bad", good);
  FakeRegistry::HookScope hook(
      registry_, OnBlob(good.config.digest, [&] {
        return ServerReply{.body = std::string(good.config.bytes.size(), 'x')};
      }));
  EXPECT_EQ(Pull(Ref("bad")).code(), Code::kDataLoss);

  EXPECT_EQ(registry_.Count("GET", good.layers[0].digest), 0);
  ExpectNothingButLayers({});
}

TEST_F(PullerFailureTest, ADeadRegistryAndBadReferences) {
  EXPECT_EQ(Pull("127.0.0.1:1/app").code(), Code::kUnavailable);
  EXPECT_EQ(Pull("").code(), Code::kInvalidArgument);
  EXPECT_EQ(Pull("UPPER/../x").code(), Code::kInvalidArgument);
  RegistryAuth auth;
  auth.auth = "???";
  EXPECT_EQ(Pull(Ref("v1"), auth).code(), Code::kInvalidArgument);
}

TEST_F(PullerFailureTest, AMirrorThatLiesIsLeftOut) {
  const BuiltImage built = ImageOf({LayerTar("a"), LayerTar("b", 1000)});
  FakeRegistry mirror;
  mirror.Add("v1", built);
  registry_.Add("v1", built);
  const std::string& layer = built.layers[0].digest;
  FakeRegistry::HookScope hook(mirror, OnBlob(layer, [&] {
                                 std::string flipped = built.layers[0].bytes;
                                 flipped[flipped.size() / 2] ^= 1;
                                 return ServerReply{.body = flipped};
                               }));
  PullerOptions options;
  options.registry.config_dirs = {dir_ / "certs.d"};
  Open(options);
  const std::string directory = StrCat(dir_ / "certs.d/", registry_.address());
  ASSERT_TRUE(MakeDirs(directory, 0700).ok());
  ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, StrCat(directory, "/hosts.toml"),
                                StrCat("[host.\"http://", mirror.address(), "\"]\n"), 0600)
                  .ok());
  auto image = Pull(Ref("v1"));
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_TRUE(snapshotter_->HasLayer(built.diff_ids[0]));
  EXPECT_EQ(mirror.Count("GET", layer), 1);
  EXPECT_EQ(registry_.Count("GET", layer), 1);
  EXPECT_EQ(registry_.Count("GET", "/manifests/v1"), 0);
  EXPECT_THAT(Staged(), IsEmpty());
}

TEST_F(PullerFailureTest, AFailureCancelsTheOtherLayers) {
  Open({});  // with the long stall timeout
  const BuiltImage built = ImageOf({LayerTar("a"), LayerTar("b"), LayerTar("c")});
  registry_.Add("v1", built);
  FakeRegistry::HookScope hook(
      registry_, [&](const ServerRequest& request) -> std::optional<ServerReply> {
        if (request.path.ends_with(built.layers[0].digest)) {
          return ServerReply{.body = built.layers[0].bytes, .stall_after = 5000};
        }
        if (request.path.ends_with(built.layers[2].digest)) return ServerReply{.status = 404};
        return std::nullopt;
      });
  int64_t begin = MonotonicNs();
  auto image = Pull(Ref("v1"));
  EXPECT_EQ(image.code(), Code::kNotFound) << image.error().message();
  EXPECT_LT(MonotonicNs() - begin, 5'000'000'000);
  EXPECT_FALSE(snapshotter_->HasLayer(built.diff_ids[0]));
  EXPECT_THAT(Staged(), IsEmpty());
}

TEST_F(PullerFailureTest, ABrokenTransferGoesOn) {
  const BuiltImage built = ImageOf({LayerTar("a")});
  registry_.Add("v1", built);
  FakeRegistry::HookScope hook(
      registry_, [&](const ServerRequest& request) -> std::optional<ServerReply> {
        if (!request.path.ends_with(built.layers[0].digest) || !request.Header("range").empty()) {
          return std::nullopt;
        }
        return ServerReply{.body = built.layers[0].bytes, .cut_after = 100'000};
      });
  auto image = Pull(Ref("v1"));
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_EQ(registry_.Count("GET", built.layers[0].digest), 2);
}

TEST_F(PullerFailureTest, PullsOfTheSameJoin) {
  const BuiltImage built = ImageOf({LayerTar("a"), LayerTar("b")});
  registry_.Add("v1", built);
  // Slow enough that everybody comes while the first pull is under way.
  FakeRegistry::HookScope hook(registry_,
                               [](const ServerRequest& request) -> std::optional<ServerReply> {
                                 if (request.path.ends_with("/manifests/v1")) {
                                   std::this_thread::sleep_for(std::chrono::milliseconds(300));
                                 }
                                 return std::nullopt;
                               });
  std::vector<std::thread> threads;
  threads.reserve(8);
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      auto image = Pull(Ref("v1"));
      if (image.ok() && (*image)->id == built.config.digest) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(registry_.Count("GET", "/manifests/v1"), 1);
  EXPECT_EQ(registry_.Count("GET", built.layers[0].digest), 1);
}

TEST_F(PullerFailureTest, WhoeverJoinsSeesTheSameProgress) {
  Open({});  // with the long stall timeout: one layer waits for the other
  const BuiltImage built = ImageOf({LayerTar("a"), LayerTar("b", 1000)});
  registry_.Add("v1", built);
  std::atomic<bool> go{false};
  FakeRegistry::HookScope hook(registry_, OnBlob(built.layers[0].digest, [&] {
                                 while (!go)
                                   std::this_thread::sleep_for(std::chrono::milliseconds(5));
                                 return ServerReply{.body = built.layers[0].bytes};
                               }));
  struct Watcher {
    std::vector<LayerProgress> last;
    bool saw_half = false;  // one layer done, the other on its way
    void Take(const std::vector<LayerProgress>& now) {
      last = now;
      if (now[0].state == LayerState::kDownloading && now[1].state == LayerState::kDone)
        saw_half = true;
    }
  };
  Watcher watchers[2];
  std::atomic<int> seen{0};
  auto pull = [&](Watcher& watcher) {
    bool counted = false;
    auto image = puller_->Pull(Context::WithTimeoutMs(60'000),
                               {Ref("v1"), {}, [&](const std::vector<LayerProgress>& now) {
                                  watcher.Take(now);
                                  if (watcher.saw_half && !std::exchange(counted, true)) ++seen;
                                }});
    EXPECT_TRUE(image.ok());
  };
  std::thread first([&] { pull(watchers[0]); });
  // The second comes when half is there: it is told at once.
  while (seen < 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const auto under_way = puller_->UnderWay();
  ASSERT_EQ(under_way.size(), 1u);
  EXPECT_EQ(under_way[0].reference, Ref("v1"));
  EXPECT_EQ(under_way[0].layers[1].state, LayerState::kDone);
  std::thread second([&] { pull(watchers[1]); });
  while (seen < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  go = true;
  first.join();
  second.join();
  for (const Watcher& watcher : watchers) {
    ASSERT_EQ(watcher.last.size(), 2u);
    for (const LayerProgress& layer : watcher.last) {
      EXPECT_EQ(layer.state, LayerState::kDone);
      EXPECT_EQ(layer.done_bytes, layer.total_bytes);
    }
  }
  EXPECT_EQ(registry_.Count("GET", "/manifests/v1"), 1);
  EXPECT_TRUE(puller_->UnderWay().empty());
}

TEST_F(PullerFailureTest, ACallerThatLeavesDoesNotEndThePullOfAnother) {
  const BuiltImage built = ImageOf({LayerTar("a")});
  registry_.Add("v1", built);
  FakeRegistry::HookScope hook(registry_, OnBlob(built.layers[0].digest, [&] {
                                 std::this_thread::sleep_for(std::chrono::milliseconds(250));
                                 return ServerReply{.body = built.layers[0].bytes};
                               }));
  auto impatient = Context::Cancellable();
  ASSERT_TRUE(impatient.ok());
  std::thread first([&] {
    EXPECT_EQ(puller_->Pull(*impatient, {Ref("v1"), {}, {}}).code(), Code::kCancelled);
  });
  std::thread second([&] { EXPECT_TRUE(Pull(Ref("v1")).ok()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  impatient->Cancel();
  first.join();
  second.join();
  EXPECT_EQ(registry_.Count("GET", built.layers[0].digest), 1);
}

TEST_F(PullerFailureTest, TheLastCallersLeavingEndsThePull) {
  Open({});
  const BuiltImage built = ImageOf({LayerTar("a")});
  registry_.Add("v1", built);
  FakeRegistry::HookScope hook(registry_, OnBlob(built.layers[0].digest, [&] {
                                 return ServerReply{.body = built.layers[0].bytes,
                                                    .stall_after = 5000};
                               }));
  int64_t begin = MonotonicNs();
  auto image = puller_->Pull(Context::WithTimeoutMs(300), {Ref("v1"), {}, {}});
  EXPECT_EQ(image.code(), Code::kDeadlineExceeded);
  EXPECT_LT(MonotonicNs() - begin, 5'000'000'000);
  ExpectNothingButLayers({});
  registry_.SetHook({});
  EXPECT_TRUE(Pull(Ref("v1")).ok());
}

TEST_F(PullerFailureTest, ASharedLayerIsFetchedOnce) {
  const BuiltImage one = ImageOf({LayerTar("shared"), LayerTar("one", 1000)});
  const BuiltImage two = ImageOf({LayerTar("shared"), LayerTar("two", 1000)});
  const std::string shared = one.layers[0].digest;
  ASSERT_EQ(shared, two.layers[0].digest);
  registry_.Add("one", one);
  registry_.Add("two", two);
  FakeRegistry::HookScope hook(registry_,
                               [&](const ServerRequest& request) -> std::optional<ServerReply> {
                                 if (request.path.ends_with(shared))
                                   std::this_thread::sleep_for(std::chrono::milliseconds(300));
                                 return std::nullopt;
                               });
  std::thread other([&] { EXPECT_TRUE(Pull(Ref("one")).ok()); });
  EXPECT_TRUE(Pull(Ref("two")).ok());
  other.join();
  EXPECT_EQ(registry_.Count("GET", shared), 1);
  EXPECT_EQ(Layers().size(), 3u);
}

TEST_F(PullerFailureTest, ALayerThatOnePullFailedOnIsTriedByTheOther) {
  const BuiltImage one = ImageOf({LayerTar("shared"), LayerTar("one", 1000)});
  const BuiltImage two = ImageOf({LayerTar("shared")});
  const std::string shared = one.layers[0].digest;
  registry_.Add("one", one);
  registry_.Add("two", two);
  std::atomic<int> asked{0};
  FakeRegistry::HookScope hook(registry_,
                               [&](const ServerRequest& request) -> std::optional<ServerReply> {
                                 if (!request.path.ends_with(shared) || asked++ > 0)
                                   return std::nullopt;
                                 std::this_thread::sleep_for(std::chrono::milliseconds(300));
                                 return ServerReply{.status = 404};
                               });
  Result<std::shared_ptr<const Image>> first = std::shared_ptr<const Image>();
  std::thread other([&] { first = Pull(Ref("one")); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  auto second = Pull(Ref("two"));
  other.join();
  EXPECT_EQ(first.code(), Code::kNotFound);
  EXPECT_TRUE(second.ok()) << second.error().message();
}

TEST_F(PullerFailureTest, OnlySoManyLayersAtOnce) {
  PullerOptions options;
  options.max_parallel_layers = 2;
  Open(options);
  std::vector<std::string> tars;
  for (char c = 'a'; c < 'i'; ++c) tars.push_back(LayerTar(std::string(1, c), 2000));
  const BuiltImage one = ImageOf({tars.begin(), tars.begin() + 4});
  const BuiltImage two = ImageOf({tars.begin() + 4, tars.end()});
  registry_.Add("one", one);
  registry_.Add("two", two);
  const std::set<std::string> configs = {one.config.digest, two.config.digest};
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  FakeRegistry::HookScope hook(
      registry_, [&](const ServerRequest& request) -> std::optional<ServerReply> {
        const std::string digest = request.path.substr(request.path.rfind('/') + 1);
        if (!IsDigest(digest) || configs.contains(digest)) return std::nullopt;
        most = std::max(most.load(), ++now);
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        --now;
        return std::nullopt;
      });
  std::thread other([&] { EXPECT_TRUE(Pull(Ref("one")).ok()); });
  EXPECT_TRUE(Pull(Ref("two")).ok());
  other.join();
  EXPECT_EQ(most, 2);
}

TEST_F(PullerFailureTest, WhatIsHereIsNotFetchedAgain) {
  const BuiltImage built = ImageOf({LayerTar("a"), LayerTar("a")});  // the same layer twice
  registry_.Add("v1", built);
  auto first = Pull(Ref("v1"));
  ASSERT_TRUE(first.ok()) << first.error().message();
  auto again = Pull(Ref("v1"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->id, (*first)->id);
  EXPECT_EQ((*again)->size_bytes, (*first)->size_bytes);
  EXPECT_EQ(registry_.Count("GET", "/manifests/v1"), 1);
  EXPECT_EQ(registry_.Count("HEAD", "/manifests/v1"), 1);
  EXPECT_EQ(registry_.Count("GET", built.layers[0].digest), 1);

  registry_.Add("v2", built);
  EXPECT_TRUE(Pull(Ref("v2")).ok());
  EXPECT_EQ(registry_.Count("GET", built.layers[0].digest), 1);
  EXPECT_EQ(store_->Find(Ref("v2"))->repo_tags.size(), 2u);
}

TEST_F(PullerFailureTest, AMovedTagMoves) {
  const BuiltImage old_image = ImageOf({LayerTar("a", 1000)});
  const BuiltImage new_image = ImageOf({LayerTar("a", 1000), LayerTar("b", 1000)});
  registry_.Add("v1", old_image);
  ASSERT_TRUE(Pull(Ref("v1")).ok());
  registry_.Add("v1", new_image);
  auto image = Pull(Ref("v1"));
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_EQ((*image)->id, new_image.config.digest);
  auto before = store_->Find(old_image.config.digest);
  ASSERT_NE(before, nullptr);
  EXPECT_THAT(before->repo_tags, IsEmpty());
  EXPECT_EQ(before->repo_digests.size(), 1u);
  EXPECT_EQ(registry_.Count("GET", old_image.layers[0].digest), 1);
}

TEST_F(PullerFailureTest, ARemovalDuringAPullTakesNoLayerAway) {
  Open({});
  const BuiltImage old_image = ImageOf({LayerTar("shared"), LayerTar("old", 1000)});
  const BuiltImage new_image = ImageOf({LayerTar("shared"), LayerTar("new", 1000)});
  registry_.Add("old", old_image);
  registry_.Add("new", new_image);
  ASSERT_TRUE(Pull(Ref("old")).ok());
  std::atomic<bool> asked{false};
  std::atomic<bool> go{false};
  FakeRegistry::HookScope hook(registry_, OnBlob(new_image.layers[1].digest, [&] {
                                 asked = true;
                                 while (!go)
                                   std::this_thread::sleep_for(std::chrono::milliseconds(5));
                                 return ServerReply{.body = new_image.layers[1].bytes};
                               }));
  std::thread pull([&] {
    auto image = Pull(Ref("new"));
    EXPECT_TRUE(image.ok()) << image.error().message();
  });
  while (!asked) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(store_->Remove(Ref("old")).ok());
  go = true;
  pull.join();
  // The old image's own layer went when the pull had ended, the shared one stayed.
  EXPECT_EQ(Layers(), (std::set<std::string>{new_image.diff_ids[0], new_image.diff_ids[1]}));
  EXPECT_EQ(store_->Find(Ref("old")), nullptr);
}

}  // namespace
}  // namespace berth::image
