// Damage in the store: found by seals, and repaired from a registry.
#include "image/store_verifier.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "snapshotter/overlay.h"
#include "tests/testing/fake_registry.h"
#include "tests/testing/puller_fixture.h"

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

class StoreVerifierTest : public PullerFixture {
 protected:
  StoreVerifierTest() : PullerFixture(snapshotter::OpenOverlay) {}

  void SetUp() override {
    PullerFixture::SetUp();
    if (IsSkipped()) return;
    TestImage source;
    source.layers = {{MakeTar({{.path = "lower", .content = "one"}}), Compression::kGzip},
                     {MakeTar({{.path = "upper", .content = "two"}}), Compression::kGzip}};
    image_ = BuildImage(source);
    registry_.Add("v1", image_);
    reference_ = StrCat(registry_.address(), "/app:v1");
    auto pulled = Pull(reference_);
    ASSERT_TRUE(pulled.ok()) << pulled.error().message();
    lower_ = (*pulled)->config.diff_ids[0];
    upper_ = (*pulled)->config.diff_ids[1];
  }
  // As a power loss does it: a file of the right name, and nothing in it.
  void Damage(const std::string& diff_id, const std::string& file) {
    const std::string path = StrCat(dir_ / "store", "/layers/", diff_id.substr(7), "/fs/", file);
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    ASSERT_EQ(truncate(path.c_str(), 0), 0);
    const timespec times[2] = {info.st_atim, info.st_mtim};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  std::vector<VerifiedLayer> Verify(bool repair) {
    std::vector<VerifiedLayer> damaged;
    size_t looked_at = 0;
    StoreVerifier verifier(*snapshotter_, *store_, *puller_);
    Status verified =
        verifier.Verify(Context::WithTimeoutMs(60'000), repair, [&](const auto& layer) {
          looked_at = layer.done;
          EXPECT_EQ(layer.total, Layers().size());
          if (!layer.problem.empty()) damaged.push_back(layer);
          return true;
        });
    EXPECT_TRUE(verified.ok()) << verified.error().message();
    EXPECT_EQ(looked_at, Layers().size());
    return damaged;
  }

  FakeRegistry registry_;
  BuiltImage image_;
  std::string reference_;
  std::string lower_, upper_;
};

TEST_F(StoreVerifierTest, PullsTheDamagedLayerAgainAndNoOther) {
  EXPECT_THAT(Verify(true), IsEmpty());
  Damage(upper_, "upper");
  auto damaged = Verify(false);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].diff_id, upper_);
  EXPECT_EQ(damaged[0].problem, "its files have 0 bytes instead of 3");
  EXPECT_THAT(damaged[0].images, ElementsAre(reference_));
  EXPECT_FALSE(damaged[0].repaired);
  EXPECT_EQ(LayerFile(upper_, "upper"), "");

  damaged = Verify(true);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_TRUE(damaged[0].repaired) << damaged[0].not_repaired;
  EXPECT_EQ(LayerFile(upper_, "upper"), "two");
  EXPECT_THAT(Verify(false), IsEmpty());
  EXPECT_EQ(registry_.Count("GET", image_.layers[0].digest), 1);
  EXPECT_EQ(registry_.Count("GET", image_.layers[1].digest), 2);
  EXPECT_THAT(Staged(), IsEmpty());
}

TEST_F(StoreVerifierTest, ALayerInUseIsLeftToItsContainer) {
  Damage(lower_, "lower");
  ASSERT_TRUE(snapshotter_->CreateSnapshot("pod-1", {{lower_, upper_}}).ok());
  auto damaged = Verify(true);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_FALSE(damaged[0].repaired);
  EXPECT_THAT(damaged[0].not_repaired, HasSubstr("container pod-1 uses layer"));
  ASSERT_TRUE(snapshotter_->RemoveSnapshot("pod-1").ok());
  // A container that has the image as a volume has no snapshot of it.
  store_->SetLayerUser([&] { return std::vector<std::string>{lower_}; });
  EXPECT_THAT(Verify(true)[0].not_repaired, HasSubstr("a container uses it"));
  store_->SetLayerUser({});
  EXPECT_TRUE(Verify(true)[0].repaired);
}

TEST_F(StoreVerifierTest, ARepairThatFailsLeavesEverythingAsItWas) {
  Damage(lower_, "lower");
  registry_.SetHook([](const auto&) { return testing::ServerReply{.status = 404}; });
  auto damaged = Verify(true);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_FALSE(damaged[0].repaired);
  EXPECT_THAT(damaged[0].not_repaired, HasSubstr(registry_.address()));
  EXPECT_EQ(LayerFile(upper_, "upper"), "two");
  EXPECT_TRUE(snapshotter_->HasLayer(lower_));
  EXPECT_THAT(Staged(), IsEmpty());
  registry_.SetHook({});
  // And so does the next daemon find it.
  Open({});
  EXPECT_EQ(Verify(false).size(), 1u);
  EXPECT_TRUE(Verify(true)[0].repaired);
}

TEST_F(StoreVerifierTest, ALayerWithoutItsFilesIsDamaged) {
  const std::string layer = StrCat(dir_ / "store", "/layers/", lower_.substr(7));
  ASSERT_EQ(rename(StrCat(layer, "/fs").c_str(), StrCat(layer, "/away").c_str()), 0);
  auto damaged = Verify(true);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].problem, "its files are missing");
  EXPECT_TRUE(damaged[0].repaired) << damaged[0].not_repaired;
  EXPECT_EQ(LayerFile(lower_, "lower"), "one");
}

TEST_F(StoreVerifierTest, KeptBlobsAreReadToo) {
  puller_.reset();
  unpacker_ = std::make_unique<LayerUnpacker>(WorkerPath(), *snapshotter_, PullCgroup(), true);
  puller_ = std::make_unique<Puller>(PullerOptions{}, *unpacker_, *snapshotter_, *store_);
  ASSERT_TRUE(store_->Remove(reference_).ok());
  ASSERT_TRUE(Pull(reference_).ok());
  EXPECT_THAT(Verify(false), IsEmpty());

  const std::string blob = StrCat(dir_ / "store", "/layers/", upper_.substr(7), "/blob");
  const std::string flip = StrCat("printf x | dd conv=notrunc status=none bs=1 seek=20 of=", blob);
  const std::pair<std::string, std::string> kDamages[] = {
      {flip, "its kept blob is sha256:"},
      {StrCat("truncate -s 9 ", blob), "its kept blob has 9 bytes instead of "},
      {StrCat("rm ", blob), "its kept blob is missing"}};
  for (const auto& [command, problem] : kDamages) {
    ASSERT_EQ(std::system(command.c_str()), 0);
    auto damaged = Verify(true);
    ASSERT_EQ(damaged.size(), 1u) << problem;
    EXPECT_EQ(damaged[0].diff_id, upper_);
    EXPECT_THAT(damaged[0].problem, HasSubstr(problem));
    EXPECT_TRUE(damaged[0].repaired) << damaged[0].not_repaired;
    EXPECT_THAT(Verify(false), IsEmpty());
  }
}

TEST_F(StoreVerifierTest, AnImportedImageHasToBeImportedAgain) {
  Image imported = *store_->Find(reference_);
  ASSERT_TRUE(store_->Remove(reference_).ok());
  EXPECT_THAT(Layers(), IsEmpty());
  // As a version without seals left them.
  for (const std::string& layer : {lower_, upper_}) {
    auto staged = snapshotter_->Stage(layer);
    ASSERT_TRUE(staged.ok());
    ASSERT_TRUE(snapshotter_->Commit(std::move(*staged), {1, 1}).ok());
  }
  imported.repo_digests.clear();
  ASSERT_TRUE(store_->Put(imported).ok());
  const auto damaged = Verify(true);
  ASSERT_EQ(damaged.size(), 2u);
  EXPECT_EQ(damaged[0].problem, "it has no seal");
  EXPECT_THAT(damaged[0].not_repaired, HasSubstr("import it again"));
}

}  // namespace
}  // namespace berth::image
