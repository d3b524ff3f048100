// Stores that another filled, beside one's own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "image/store_verifier.h"
#include "snapshotter/overlay.h"
#include "tests/testing/fake_registry.h"
#include "tests/testing/puller_fixture.h"
#include "tests/testing/user_namespace.h"

namespace berth::image {
namespace {

using berth::testing::BuildImage;
using berth::testing::BuiltImage;
using berth::testing::FakeRegistry;
using berth::testing::MakeTar;
using berth::testing::PullerFixture;
using berth::testing::TestImage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AdditionalStoreTest : public PullerFixture {
 protected:
  AdditionalStoreTest() : PullerFixture(snapshotter::OpenOverlay) {}

  void SetUp() override {
    PullerFixture::SetUp();
    if (IsSkipped()) return;
    reference_ = Offer("v1", {"lower", "upper"});
    auto pulled = Pull(reference_);
    ASSERT_TRUE(pulled.ok()) << pulled.error().message();
    diff_ids_ = (*pulled)->config.diff_ids;
    // What `berth preload` does at its end.
    ASSERT_TRUE(snapshotter_->MakeDurable().ok());
    ASSERT_TRUE(store_->Settle().ok());
    Close();
    ASSERT_EQ(rename((dir_ / "store").c_str(), (dir_ / "other-store").c_str()), 0);
    ASSERT_EQ(rename((dir_ / "meta.db").c_str(), (dir_ / "other.db").c_str()), 0);
    before_ = Everything();
    OpenBoth();
  }
  void TearDown() override {
    if (IsSkipped()) return;
    Close();
    EXPECT_EQ(Everything(), before_) << "the read-only store was written to";
  }
  void Close() {
    puller_.reset();
    store_.reset();
    unpacker_.reset();
    snapshotter_.reset();
  }
  void OpenBoth() {
    Close();
    auto snapshotter =
        snapshotter::OpenOverlay(dir_ / "store", {.read_only = {dir_ / "other-store"}});
    ASSERT_TRUE(snapshotter.ok()) << snapshotter.error().message();
    snapshotter_ = std::move(*snapshotter);
    unpacker_ = std::make_unique<LayerUnpacker>(WorkerPath(), *snapshotter_);
    auto store = ImageStore::Open(dir_ / "meta.db", *snapshotter_, {dir_ / "other.db"});
    ASSERT_TRUE(store.ok()) << store.error().message();
    store_ = std::move(*store);
    puller_ = std::make_unique<Puller>(PullerOptions{}, *unpacker_, *snapshotter_, *store_);
  }
  std::string Offer(const std::string& tag, const std::vector<std::string>& files) {
    TestImage source;
    for (const std::string& file : files) {
      source.layers.push_back(
          {MakeTar({{.path = file, .content = "of " + file}}), Compression::kGzip});
    }
    images_[tag] = BuildImage(source);
    registry_.Add(tag, images_[tag]);
    return StrCat(registry_.address(), "/app:", tag);
  }
  // Names and times of all that is in it.
  std::string Everything() {
    const std::string list = dir_ / "list";
    EXPECT_EQ(std::system(StrCat("cd ", dir_.path(), " && find other-store other.db* -printf ",
                                 "'%p %s %T@ %C@\\n' | sort >", list)
                              .c_str()),
              0);
    return *ReadFile(list);
  }
  std::string ReadInMount(const std::string& id, const std::string& file) {
    auto mounted = snapshotter_->Mount(id, {});
    if (!mounted.ok()) return mounted.error().message();
    auto text = ReadFileAt(mounted->get(), file);
    return text.ok() ? *text : text.error().message();
  }

  FakeRegistry registry_;
  std::map<std::string, BuiltImage> images_;
  std::string reference_;
  std::vector<std::string> diff_ids_;
  std::string before_;
};

TEST_F(AdditionalStoreTest, ItsImagesAreThereAndContainersRunOnItsLayers) {
  auto image = store_->Find(reference_);
  ASSERT_NE(image, nullptr);
  EXPECT_TRUE(image->pinned);
  EXPECT_EQ(store_->Find(image->id.substr(0, 15)), image);
  EXPECT_THAT(store_->List(), ElementsAre(image));
  EXPECT_THAT(Layers(), IsEmpty());
  ASSERT_TRUE(snapshotter_->CreateSnapshot("c", {diff_ids_}).ok());
  EXPECT_EQ(ReadInMount("c", "lower"), "of lower");
  EXPECT_EQ(ReadInMount("c", "upper"), "of upper");
  EXPECT_TRUE(snapshotter_->MountLayers(diff_ids_, {}).ok());
  EXPECT_TRUE(snapshotter_->OpenLayer(diff_ids_[0]).ok());
  OpenBoth();
  EXPECT_EQ(ReadInMount("c", "upper"), "of upper");
}

TEST_F(AdditionalStoreTest, AUserNamespaceMapsTheIdsOfAllStores) {
  const UniqueFd ns = berth::testing::SomeUserNamespace();
  if (!ns.ok()) GTEST_SKIP() << "this machine allows no user namespaces";
  auto pulled = Pull(Offer("v2", {"lower", "another"}));
  ASSERT_TRUE(pulled.ok()) << pulled.error().message();
  auto mounted =
      snapshotter_->MountLayers((*pulled)->config.diff_ids, {.user_namespace = ns.get()});
  ASSERT_TRUE(mounted.ok()) << mounted.error().message();
  for (const char* file : {"lower", "another"}) {
    struct stat info {};
    ASSERT_EQ(fstatat(mounted->get(), file, &info, 0), 0) << file;
    EXPECT_EQ(info.st_uid, 100'000u) << file;
  }
}

TEST_F(AdditionalStoreTest, NothingTakesThemAway) {
  const Status removed = store_->Remove(reference_);
  EXPECT_EQ(removed.code(), Code::kFailedPrecondition);
  EXPECT_THAT(removed.error().message(), HasSubstr("read-only store"));
  auto collected = store_->CollectLayers();
  ASSERT_TRUE(collected.ok());
  EXPECT_EQ(collected->layers, 0u);
  EXPECT_TRUE(snapshotter_->HasLayer(diff_ids_[0]));
}

TEST_F(AdditionalStoreTest, DamageInItIsToldAndLeftAlone) {
  ASSERT_TRUE(Pull(Offer("v2", {"lower", "another"})).ok());
  StoreVerifier verifier(*snapshotter_, *store_, *puller_);
  std::vector<VerifiedLayer> damaged;
  size_t looked_at = 0;
  const auto verify = [&] {
    damaged.clear();
    Status verified = verifier.Verify(Context::WithTimeoutMs(60'000), true, [&](const auto& layer) {
      looked_at = layer.done;
      if (!layer.problem.empty()) damaged.push_back(layer);
      return true;
    });
    EXPECT_TRUE(verified.ok()) << verified.error().message();
  };
  verify();
  EXPECT_EQ(looked_at, 3u);
  EXPECT_THAT(damaged, IsEmpty());

  const std::string file =
      StrCat(dir_ / "other-store", "/layers/", diff_ids_[1].substr(7), "/fs/upper");
  ASSERT_EQ(truncate(file.c_str(), 2), 0);
  const std::string before = Everything();
  verify();
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].diff_id, diff_ids_[1]);
  EXPECT_EQ(damaged[0].store, dir_ / "other-store");
  EXPECT_EQ(damaged[0].problem, "its files have 2 bytes instead of 8");
  EXPECT_THAT(damaged[0].images, ElementsAre(reference_));
  EXPECT_FALSE(damaged[0].repaired);
  EXPECT_THAT(damaged[0].not_repaired, HasSubstr("its store is only read"));
  EXPECT_EQ(Everything(), before);
  before_ = before;
}

TEST_F(AdditionalStoreTest, APullTakesItsLayersAndBringsTheOthers) {
  const std::string next = Offer("v2", {"lower", "another"});
  auto pulled = Pull(next);
  ASSERT_TRUE(pulled.ok()) << pulled.error().message();
  EXPECT_EQ(registry_.Count("GET", images_["v2"].layers[0].digest), 1);  // by the other store
  EXPECT_THAT(Layers(), ElementsAre((*pulled)->config.diff_ids[1]));
  ASSERT_TRUE(snapshotter_->CreateSnapshot("c", {(*pulled)->config.diff_ids}).ok());
  EXPECT_EQ(ReadInMount("c", "lower"), "of lower");
  EXPECT_EQ(ReadInMount("c", "another"), "of another");
  // A tag that moves here has moved.
  Image moved = **pulled;
  moved.repo_tags = {store_->Find(reference_)->repo_tags[0]};
  const std::string id = store_->Find(reference_)->id;
  ASSERT_TRUE(store_->Put(moved).ok());
  EXPECT_EQ(store_->Find(reference_)->id, moved.id);
  EXPECT_THAT(store_->Find(id)->repo_tags, IsEmpty());
  // And is the other store's again once this image has gone.
  ASSERT_TRUE(store_->Remove(moved.id).ok());
  EXPECT_THAT(Layers(), IsEmpty());
  OpenBoth();
  EXPECT_EQ(store_->Find(reference_)->id, id);
}

TEST_F(AdditionalStoreTest, AMissingOneIsNamed) {
  Close();
  auto opened = snapshotter::OpenOverlay(dir_ / "store", {.read_only = {dir_ / "nowhere"}});
  EXPECT_EQ(opened.code(), Code::kNotFound);
  EXPECT_THAT(opened.error().message(), HasSubstr("additional store"));
  EXPECT_THAT(opened.error().message(), HasSubstr(dir_ / "nowhere"));
}

}  // namespace
}  // namespace berth::image
