#include "image/image_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/json.h"
#include "image/digest.h"
#include "image/image_config.h"
#include "image/unfinished_pulls.h"
#include "snapshotter/overlay.h"
#include "tests/testing/temp_dir.h"

namespace berth::image {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ImageStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "the snapshotter needs root";
    Open();
  }
  void Open() {
    store_.reset();
    snapshotter_.reset();
    auto snapshotter = snapshotter::OpenOverlay(dir_ / "store");
    ASSERT_TRUE(snapshotter.ok()) << snapshotter.error().message();
    snapshotter_ = std::move(*snapshotter);
    auto store = ImageStore::Open(dir_ / "meta.db", *snapshotter_);
    ASSERT_TRUE(store.ok()) << store.error().message();
    store_ = std::move(*store);
  }
  // Makes a layer and returns its diffID.
  std::string AddLayer(const std::string& name) {
    std::string diff_id = DigestOf(name);
    auto staged = snapshotter_->Stage(diff_id);
    EXPECT_TRUE(staged.ok());
    EXPECT_TRUE(snapshotter_->Commit(std::move(*staged), {100, 1}).ok());
    return diff_id;
  }
  std::set<std::string> Layers() {
    auto layers = snapshotter_->ListLayers();
    return {layers->begin(), layers->end()};
  }
  static Image MakeImage(const std::vector<std::string>& diff_ids,
                         const std::vector<std::string>& tags,
                         const std::vector<std::string>& digests = {}) {
    Image image;
    image.config_json =
        Json{{"os", "linux"}, {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}}.dump();
    image.config = *ParseImageConfig(image.config_json);
    image.id = DigestOf(image.config_json);
    image.repo_tags = tags;
    image.repo_digests = digests;
    image.size_bytes = 42;
    image.pulled_at_ns = 7;
    return image;
  }
  Image Put(const Image& image) {
    Status status = store_->Put(image);
    EXPECT_TRUE(status.ok()) << status.error().message();
    return image;
  }

  berth::testing::TempDir dir_;
  std::unique_ptr<snapshotter::Snapshotter> snapshotter_;
  std::unique_ptr<ImageStore> store_;
};

const std::string kTag = "docker.io/library/busybox:latest";
const std::string kByDigest = "docker.io/library/busybox@" + DigestOf("manifest");

TEST_F(ImageStoreTest, FindsByEveryKindOfName) {
  Image image = Put(MakeImage({AddLayer("a")}, {kTag}, {kByDigest}));
  const std::string hex = image.id.substr(7);
  for (const std::string& name :
       {image.id, hex, hex.substr(0, 12), hex.substr(0, 3), "sha256:" + hex.substr(0, 8), kTag,
        std::string("busybox"), std::string("docker.io/busybox"), kByDigest,
        "busybox:x@" + DigestOf("manifest")}) {
    auto found = store_->Find(name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->id, image.id);
  }
  for (const std::string& name :
       {std::string(), hex.substr(0, 2), std::string("busybox:1"), std::string("sha256:"),
        "sha256:" + std::string(64, 'z'), hex + "0", std::string("../../etc")}) {
    EXPECT_EQ(store_->Find(name), nullptr) << name;
  }
}

TEST_F(ImageStoreTest, AnAmbiguousPrefixFindsNothing) {
  // Two ids with the same first three digits turn up soon enough.
  std::map<std::string, std::string> by_prefix;
  const std::string layer = AddLayer("a");
  for (int i = 0;; ++i) {
    ASSERT_LT(i, 100'000);
    Image image = MakeImage({layer}, {});
    image.id = DigestOf(StrCat(i));
    auto [it, inserted] = by_prefix.emplace(image.id.substr(7, 3), image.id);
    if (inserted) continue;
    Image other = image;
    other.id = it->second;
    Put(image);
    Put(other);
    EXPECT_EQ(store_->Find(it->first), nullptr);
    EXPECT_EQ(store_->Find(image.id.substr(7, 20))->id, image.id);
    return;
  }
}

TEST_F(ImageStoreTest, MergesNamesAndMovesTags) {
  const std::string layer_a = AddLayer("a");
  const std::string layer_b = AddLayer("b");
  Image first = Put(MakeImage({layer_a}, {"r.example/app:1"}, {"r.example/app@" + DigestOf("1")}));
  Put(MakeImage({layer_a}, {"r.example/app:2"}));
  EXPECT_THAT(store_->Find(first.id)->repo_tags, ElementsAre("r.example/app:1", "r.example/app:2"));
  EXPECT_EQ(store_->Find(first.id)->repo_digests.size(), 1u);

  Image second = Put(MakeImage({layer_b}, {"r.example/app:1"}));
  for (int restarted = 0; restarted < 2; ++restarted) {
    EXPECT_EQ(store_->Find("r.example/app:1")->id, second.id);
    EXPECT_THAT(store_->Find(first.id)->repo_tags, ElementsAre("r.example/app:2"));
    EXPECT_EQ(store_->List().size(), 2u);
    Open();
  }
}

TEST_F(ImageStoreTest, AnnotationsAreThoseOfTheLastPull) {
  Image image = MakeImage({AddLayer("a")}, {"r.example/app:1"});
  image.annotations = {{"a", "1"}, {"b", "2"}};
  Put(image);
  image.annotations = {{"b", "3"}};
  Put(image);
  for (int restarted = 0; restarted < 2; ++restarted) {
    EXPECT_EQ(store_->Find(image.id)->annotations, image.annotations);
    Open();
  }
}

TEST_F(ImageStoreTest, RemovesImagesWithTheirLayers) {
  const std::string shared = AddLayer("shared");
  const std::string own = AddLayer("own");
  Put(MakeImage({shared, own}, {"r.example/app:1", "r.example/app:2"}));
  Put(MakeImage({shared}, {"r.example/other:1"}));
  EXPECT_TRUE(store_->Remove("r.example/app:1").ok());
  EXPECT_EQ(store_->Find("r.example/app:2"), nullptr);
  EXPECT_THAT(Layers(), UnorderedElementsAre(shared));
  EXPECT_TRUE(store_->Remove("r.example/app:1").ok());
  EXPECT_TRUE(store_->Remove("no such thing at all").ok());
  Open();
  EXPECT_EQ(store_->Find("r.example/app:2"), nullptr);
  EXPECT_NE(store_->Find("r.example/other:1"), nullptr);
  EXPECT_TRUE(store_->Remove("r.example/other:1").ok());
  EXPECT_THAT(Layers(), IsEmpty());
}

TEST_F(ImageStoreTest, KeepsLayersOfContainers) {
  const std::string layer = AddLayer("a");
  std::atomic<bool> running{true};
  store_->SetLayerUser([&] {
    EXPECT_EQ(store_->Find("nothing"), nullptr);  // no lock is held
    return running ? std::vector<std::string>{layer} : std::vector<std::string>();
  });
  Put(MakeImage({layer}, {kTag}));
  EXPECT_TRUE(store_->Remove("busybox").ok());
  EXPECT_THAT(Layers(), UnorderedElementsAre(layer));
  running = false;
  EXPECT_TRUE(store_->CollectLayers().ok());
  EXPECT_THAT(Layers(), IsEmpty());
}

TEST_F(ImageStoreTest, AHoldPostponesTheCollection) {
  const std::string layer = AddLayer("a");
  Put(MakeImage({layer}, {kTag}));
  store_->HoldLayers();
  {
    LayerHold second(*store_);
    EXPECT_TRUE(store_->Remove("busybox").ok());
    EXPECT_THAT(Layers(), UnorderedElementsAre(layer));
  }
  EXPECT_THAT(Layers(), UnorderedElementsAre(layer));
  store_->ReleaseLayers();
  EXPECT_THAT(Layers(), IsEmpty());
  // Nothing was asked for during this one.
  const std::string unused = AddLayer("b");
  { LayerHold hold(*store_); }
  EXPECT_THAT(Layers(), UnorderedElementsAre(unused));
}

TEST_F(ImageStoreTest, AUserThatCameDuringTheLookIsSeen) {
  const std::string layer = AddLayer("a");
  std::vector<std::string> users;
  int looks = 0;
  store_->SetLayerUser([&] {
    std::vector<std::string> seen = users;
    if (looks++ == 0) {
      LayerHold hold(*store_);
      users.push_back(layer);
    }
    return seen;
  });
  EXPECT_TRUE(store_->CollectLayers().ok());
  EXPECT_EQ(looks, 2);
  EXPECT_THAT(Layers(), UnorderedElementsAre(layer));
}

TEST_F(ImageStoreTest, ForgetsImagesThatLostALayer) {
  const std::string layer_a = AddLayer("a");
  const std::string layer_b = AddLayer("b");
  Image broken = Put(MakeImage({layer_a, layer_b}, {kTag}));
  Image whole = Put(MakeImage({layer_a}, {"r.example/app:1"}));
  EXPECT_TRUE(snapshotter_->RemoveLayer(layer_b).ok());
  Open();
  EXPECT_EQ(store_->Find(broken.id), nullptr);
  EXPECT_EQ(store_->Find("busybox"), nullptr);
  EXPECT_NE(store_->Find(whole.id), nullptr);
  // A container may still use what no image does.
  EXPECT_THAT(Layers(), UnorderedElementsAre(layer_a));
}

TEST_F(ImageStoreTest, AnImageThatLostALayerKeepsTheOthersForItsNextPull) {
  const std::string layer_a = AddLayer("a");
  const std::string layer_b = AddLayer("b");
  const Image image = Put(MakeImage({layer_a, layer_b}, {kTag}, {kByDigest}));
  const auto lose = [&] {
    EXPECT_TRUE(snapshotter_->RemoveLayer(layer_b).ok());
    Open();
    EXPECT_EQ(store_->Find(kTag), nullptr);
    EXPECT_THAT(store_->List(), IsEmpty());
    auto collected = store_->CollectLayers();
    ASSERT_TRUE(collected.ok());
    EXPECT_EQ(collected->layers, 0u);
    EXPECT_THAT(Layers(), UnorderedElementsAre(layer_a));
  };
  lose();
  AddLayer("b");
  Image again = image;
  again.repo_tags.clear();
  Put(again);
  ASSERT_NE(store_->Find(kTag), nullptr);
  EXPECT_EQ(store_->Find(kTag)->id, image.id);

  lose();
  EXPECT_EQ(*store_->ForgetIncomplete(), 1u);
  auto collected = store_->CollectLayers();
  ASSERT_TRUE(collected.ok());
  EXPECT_EQ(collected->layers, 1u);
  EXPECT_EQ(collected->bytes, 100u);
  EXPECT_THAT(Layers(), IsEmpty());

  AddLayer("a");
  AddLayer("b");
  Put(image);
  lose();
  EXPECT_TRUE(store_->Remove("busybox").ok());
  EXPECT_THAT(Layers(), IsEmpty());
}

TEST_F(ImageStoreTest, AnUnfinishedPullKeepsWhatItHasBrought) {
  const std::string layer_a = AddLayer("a");
  const std::string stray = AddLayer("stray");
  const Image image = MakeImage({layer_a, DigestOf("b")}, {kTag});
  ASSERT_TRUE(store_->NoteUnfinished(image).ok());
  for (int restarted = 0; restarted < 2; ++restarted) {
    ASSERT_TRUE(store_->CollectLayers().ok());
    EXPECT_THAT(Layers(), UnorderedElementsAre(layer_a));
    EXPECT_THAT(store_->List(), IsEmpty());
    Open();
  }
  // Finished, it is an image like others, whose layers go with it.
  AddLayer("b");
  Put(image);
  EXPECT_EQ(*store_->ForgetUnfinished(""), 0u);
  EXPECT_TRUE(store_->Remove("busybox").ok());
  EXPECT_THAT(Layers(), IsEmpty());
  // Of one that has everything nothing is noted.
  AddLayer("a");
  AddLayer("b");
  ASSERT_TRUE(store_->NoteUnfinished(image).ok());
  ASSERT_TRUE(store_->CollectLayers().ok());
  EXPECT_THAT(Layers(), IsEmpty());
}

TEST_F(ImageStoreTest, UnfinishedPullsAreForgotten) {
  const Image first = MakeImage({AddLayer("a"), DigestOf("missing")}, {kTag});
  const Image second = MakeImage({AddLayer("b"), DigestOf("missing")}, {kTag});
  ASSERT_TRUE(store_->NoteUnfinished(first).ok());
  ASSERT_TRUE(store_->NoteUnfinished(second).ok());
  EXPECT_EQ(*store_->ForgetUnfinished(second.id), 1u);
  ASSERT_TRUE(store_->CollectLayers().ok());
  EXPECT_THAT(Layers(), UnorderedElementsAre(DigestOf("b")));

  // By their age, and with a clock that was wrong.
  const int64_t age = kUnfinishedKeptNs;
  for (const auto& [shift, stays] :
       {std::pair{age - 60'000'000'000, true}, {age, false}, {int64_t{-60'000'000'000}, false}}) {
    AddLayer("b");
    ASSERT_TRUE(store_->NoteUnfinished(second).ok());
    store_.reset();
    auto db = Database::Open(dir_ / "meta.db");
    ASSERT_TRUE(db.ok());
    const std::string update = StrCat("UPDATE unfinished_pulls SET begun_at = begun_at - ", shift);
    ASSERT_TRUE(db->Execute(update.c_str()).ok());
    Open();
    ASSERT_TRUE(store_->CollectLayers().ok());
    EXPECT_EQ(Layers().contains(DigestOf("b")), stays) << shift;
  }
}

TEST_F(ImageStoreTest, PinnedStaysPinned) {
  Image image = MakeImage({AddLayer("a")}, {kTag});
  image.pinned = true;
  Put(image);
  image.pinned = false;
  Put(image);
  EXPECT_TRUE(store_->Find(image.id)->pinned);
  Open();
  EXPECT_TRUE(store_->Find(image.id)->pinned);
  image.id = "sha256:../../x";
  EXPECT_EQ(store_->Put(image).code(), Code::kInvalidArgument);
}

TEST_F(ImageStoreTest, ManyThreadsAtOnce) {
  const std::string layer = AddLayer("a");
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 50; ++n) {
        LayerHold hold(*store_);
        EXPECT_TRUE(store_->Put(MakeImage({layer}, {StrCat("r.example/app:", i)})).ok());
        (void)store_->Find(StrCat("r.example/app:", i));
        (void)store_->List();
        if (n % 10 == 9) {
          EXPECT_TRUE(store_->Remove(StrCat("r.example/app:", i)).ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(store_->CollectLayers().ok());
}

}  // namespace
}  // namespace berth::image
