// The store on a disk of its own, an ext4 in a file, that loses its power, its room or its
// permission to be written. Power: the file system is told to stop without writing another byte
// (FS_IOC_SHUTDOWN), and mounted again, so that it replays its journal as after a reboot.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/file.h"
#include "image/room.h"
#include "image/store_verifier.h"
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
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr unsigned long kShutdown = _IOR('X', 125, uint32_t);  // FS_IOC_SHUTDOWN
constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

bool Succeeds(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

std::string Noise(size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string out(size, '\0');
  for (char& byte : out) byte = static_cast<char>(random());
  return out;
}

class PowerLossTest : public PullerFixture {
 protected:
  PowerLossTest() : PullerFixture(snapshotter::OpenOverlay) {}

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    // Mounts, and the boot's id, are this process's only.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_TRUE(Succeeds(
        StrCat("truncate -s 32M ", disk_ / "image", " && mkfs.ext4 -q -F ", disk_ / "image")));
    if (!Mount()) GTEST_SKIP() << "this machine has no loop devices";
    NextBoot();
    Open({});
  }
  void TearDown() override {
    Close();
    EXPECT_TRUE(!mounted_ || Unmount());
    EXPECT_TRUE(boot_ == 0 || umount2(kBootId, MNT_DETACH) == 0);
  }

  bool Mount() {
    return mounted_ = Succeeds(StrCat("mount -o loop ", disk_ / "image ", dir_.path()));
  }
  // What the background still has open goes soon.
  bool Unmount() {
    for (int i = 0; i < 500; ++i) {
      if (umount(dir_.path().c_str()) == 0) return !(mounted_ = false);
      usleep(10'000);
    }
    return false;
  }
  void NextBoot() {
    const std::string path = disk_ / StrCat("boot-", ++boot_);
    auto file = ::berth::Open(path, O_WRONLY | O_CREAT, 0644);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(
        WriteAll(file->get(), StrCat("00000000-0000-0000-0000-00000000000", boot_ % 10, "\n"))
            .ok());
    ASSERT_TRUE(boot_ == 1 || umount2(kBootId, MNT_DETACH) == 0);
    ASSERT_EQ(mount(path.c_str(), kBootId, nullptr, MS_BIND, nullptr), 0);
  }
  void Close() {
    puller_.reset();
    store_.reset();
    unpacker_.reset();
    snapshotter_.reset();
  }
  // Nothing that is not on the disk by now will be.
  void Cut() const {
    auto root = ::berth::Open(dir_.path(), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(root.ok());
    uint32_t without_log_flush = 2;
    ASSERT_EQ(ioctl(root->get(), kShutdown, &without_log_flush), 0);
  }
  void Reboot() {
    Close();
    ASSERT_TRUE(Unmount());
    ASSERT_TRUE(Mount());
    NextBoot();
    Open({});
    // As the daemon's start does.
    ASSERT_TRUE(store_->CollectLayers().ok());
    EXPECT_THAT(Damaged(), IsEmpty());
    EXPECT_THAT(Staged(), IsEmpty());
  }
  std::vector<std::string> Damaged() {
    std::vector<std::string> out;
    StoreVerifier verifier(*snapshotter_, *store_, *puller_);
    Status verified =
        verifier.Verify(Context::WithTimeoutMs(60'000), false, [&](const auto& layer) {
          if (!layer.problem.empty()) out.push_back(StrCat(layer.diff_id, ": ", layer.problem));
          return true;
        });
    EXPECT_TRUE(verified.ok()) << verified.error().message();
    return out;
  }
  // Two images with a layer in common.
  std::string Offer(const std::string& tag, const std::vector<std::string>& tars) {
    TestImage source;
    source.layers.reserve(tars.size());
    for (const std::string& tar : tars) source.layers.push_back({tar, Compression::kGzip});
    images_[tag] = BuildImage(source);
    registry_.Add(tag, images_[tag]);
    return StrCat(registry_.address(), "/app:", tag);
  }
  int Fetched(const std::string& tag, size_t layer) {
    return registry_.Count("GET", images_[tag].layers[layer].digest);
  }
  void ExpectWhole(const std::string& reference) {
    auto pulled = Pull(reference);
    ASSERT_TRUE(pulled.ok()) << pulled.error().message();
    EXPECT_EQ(LayerFile((*pulled)->config.diff_ids[0], "base"), kBase);
    EXPECT_EQ(LayerFile((*pulled)->config.diff_ids[1], "file-199"), StrCat("content of 199 ", 7));
    EXPECT_THAT(Damaged(), IsEmpty());
  }
  static std::string ManyFiles() {
    constexpr int kFiles = 200;
    std::vector<testing::TarEntry> entries;
    entries.reserve(kFiles + 1);
    for (int i = 0; i < kFiles; ++i) {
      entries.push_back({.path = StrCat("file-", i), .content = StrCat("content of ", i, " ", 7)});
    }
    entries.push_back({.path = "large", .content = Noise(4 << 20, 1)});
    return MakeTar(entries);
  }

  const std::string kBase = "the layer that both have";
  testing::TempDir disk_;
  FakeRegistry registry_;
  std::map<std::string, BuiltImage> images_;
  bool mounted_ = false;
  int boot_ = 0;
};

TEST_F(PowerLossTest, WhatWasDurableIsThereAndOnlyTheRestIsPulledAgain) {
  const std::string base = MakeTar({{.path = "base", .content = kBase}});
  const std::string first = Offer("v1", {base, MakeTar({{.path = "own", .content = "1"}})});
  const std::string second = Offer("v2", {base, ManyFiles()});
  ASSERT_TRUE(Pull(first).ok());
  ASSERT_TRUE(snapshotter_->MakeDurable().ok());
  ASSERT_TRUE(store_->Find(first) != nullptr);
  usleep(200'000);  // the image's record follows by itself
  int interrupted = 0;
  for (const int delay_ms : {0, 2, 5, 10, 20, 40, 80, 160}) {
    SCOPED_TRACE(StrCat("cut after ", delay_ms, " ms"));
    const int before = Fetched("v2", 1);
    std::thread puller([&] {
      if (!Pull(second).ok()) ++interrupted;
    });
    usleep(static_cast<useconds_t>(delay_ms) * 1000);
    Cut();
    puller.join();
    Reboot();
    auto kept = store_->Find(first);
    ASSERT_NE(kept, nullptr);
    EXPECT_EQ(LayerFile(kept->config.diff_ids[0], "base"), kBase);
    ExpectWhole(second);
    EXPECT_LE(Fetched("v2", 1), before + 2);
    EXPECT_EQ(Fetched("v1", 0), 1);
    ASSERT_TRUE(store_->Remove(second).ok());
  }
  EXPECT_GT(interrupted, 0);
}

TEST_F(PowerLossTest, APulledImageThatIsOnTheDiskIsNotPulledAgain) {
  const std::string reference =
      Offer("v1", {MakeTar({{.path = "base", .content = kBase}}), ManyFiles()});
  ASSERT_TRUE(Pull(reference).ok());
  ASSERT_TRUE(snapshotter_->MakeDurable().ok());
  usleep(500'000);
  Cut();
  Reboot();
  EXPECT_NE(store_->Find(reference), nullptr);
  ExpectWhole(reference);
  EXPECT_EQ(Fetched("v1", 0), 1);
  EXPECT_EQ(Fetched("v1", 1), 1);
}

TEST_F(PowerLossTest, OfAnImageThatLostALayerOnlyThatIsPulledAgain) {
  const std::string reference =
      Offer("v1", {MakeTar({{.path = "base", .content = kBase}}), ManyFiles()});
  auto pulled = Pull(reference);
  ASSERT_TRUE(pulled.ok());
  ASSERT_TRUE(snapshotter_->MakeDurable().ok());
  const std::string lost = (*pulled)->config.diff_ids[1];
  // As the power loss leaves it that comes before the layer's bytes have reached the disk.
  ASSERT_TRUE(Succeeds(
      StrCat("sed -i s/^boot=.*/boot=another/ ", dir_ / "store/layers/", lost.substr(7), "/meta")));
  Reboot();
  EXPECT_EQ(store_->Find(reference), nullptr);
  ExpectWhole(reference);
  EXPECT_EQ(Fetched("v1", 0), 1);
  EXPECT_EQ(Fetched("v1", 1), 2);
}

TEST_F(PowerLossTest, WhatAnUnfinishedPullHasOnTheDiskIsNotPulledAgain) {
  PullerOptions one_by_one;
  one_by_one.max_parallel_layers = 1;
  Open(one_by_one);
  const std::string reference =
      Offer("v1", {MakeTar({{.path = "large", .content = Noise(1 << 20, 5)}}),
                   MakeTar({{.path = "base", .content = kBase}})});
  const std::string last = images_["v1"].layers[1].digest;
  {
    FakeRegistry::HookScope hook(
        registry_,
        [&](const testing::ServerRequest& request) -> std::optional<testing::ServerReply> {
          if (!request.path.ends_with(last)) return std::nullopt;
          return testing::ServerReply{.status = 404};
        });
    EXPECT_EQ(Pull(reference).code(), Code::kNotFound);
  }
  ASSERT_TRUE(snapshotter_->MakeDurable().ok());
  usleep(500'000);
  Cut();
  Reboot();
  EXPECT_EQ(Layers(), std::set{images_["v1"].diff_ids[0]});
  ASSERT_TRUE(Pull(reference).ok());
  EXPECT_EQ(Fetched("v1", 0), 1);
}

TEST_F(PowerLossTest, AWorkerKilledAtAnyMomentLeavesWholeLayersOnly) {
  const std::string reference =
      Offer("v1", {MakeTar({{.path = "base", .content = kBase}}), ManyFiles()});
  int interrupted = 0;
  for (const int delay_ms : {0, 1, 2, 4, 8, 12, 16, 24, 32, 48}) {
    SCOPED_TRACE(StrCat("killed after ", delay_ms, " ms"));
    std::thread puller([&] {
      if (!Pull(reference).ok()) ++interrupted;
    });
    usleep(static_cast<useconds_t>(delay_ms) * 1000);
    // As soon as there is one.
    for (int i = 0; i < 20 && !Succeeds(StrCat("pkill -9 -P ", getpid(), " -x berth-unpack"));
         ++i) {
      usleep(1000);
    }
    puller.join();
    EXPECT_THAT(Staged(), IsEmpty());
    EXPECT_THAT(Damaged(), IsEmpty());
    ExpectWhole(reference);
    ASSERT_TRUE(store_->Remove(reference).ok());
  }
  EXPECT_GT(interrupted, 0);
}

TEST_F(PowerLossTest, ADiskWithoutRoomRefusesThePullBeforeTheFirstByte) {
  const std::string reference =
      Offer("big", {MakeTar({{.path = "x", .content = Noise(40 << 20, 2)}})});
  auto pulled = Pull(reference);
  EXPECT_EQ(pulled.code(), Code::kResourceExhausted);
  EXPECT_THAT(pulled.error().message(), HasSubstr("no room for 1 layers: at least 419"));
  EXPECT_THAT(pulled.error().message(), HasSubstr(dir_ / "store"));
  EXPECT_EQ(Fetched("big", 0), 0);
}

TEST_F(PowerLossTest, ADiskThatFillsUpLeavesNothing) {
  std::vector<testing::TarEntry> entries;
  entries.reserve(10);
  for (int i = 0; i < 10; ++i) {
    entries.push_back({.path = StrCat("f", i), .content = std::string(4 << 20, 'x')});
  }
  auto pulled = Pull(Offer("grows", {MakeTar(entries)}));
  EXPECT_EQ(pulled.code(), Code::kResourceExhausted);
  EXPECT_THAT(pulled.error().message(), HasSubstr(StrCat("bytes are free in ", dir_ / "store")));
  EXPECT_THAT(Layers(), IsEmpty());
  EXPECT_THAT(Staged(), IsEmpty());
  const std::string reference =
      Offer("v1", {MakeTar({{.path = "base", .content = kBase}}), ManyFiles()});
  // Until what was written has been deleted.
  for (int i = 0; i < 100 && !Pull(reference).ok(); ++i) usleep(50'000);
  ExpectWhole(reference);
}

TEST_F(PowerLossTest, ADiskThatIsNearlyFullKeepsNothingOfUnfinishedPulls) {
  Image image;
  image.id = StrCat("sha256:", std::string(64, '1'));
  image.config.diff_ids = {StrCat("sha256:", std::string(64, 'a')),
                           StrCat("sha256:", std::string(64, 'b'))};
  auto staged = snapshotter_->Stage(image.config.diff_ids[0]);
  ASSERT_TRUE(staged.ok());
  ASSERT_TRUE(snapshotter_->Commit(std::move(*staged), {4096, 1}).ok());
  ASSERT_TRUE(store_->NoteUnfinished(image).ok());
  ASSERT_TRUE(store_->CollectLayers().ok());
  EXPECT_EQ(Layers().size(), 1u);
  ASSERT_TRUE(Succeeds(StrCat("fallocate -l 22M ", dir_ / "filler")));
  ASSERT_LT(FreePercent(dir_.path()), 15);
  ASSERT_TRUE(store_->CollectLayers().ok());
  EXPECT_THAT(Layers(), IsEmpty());
}

TEST_F(PowerLossTest, WhatAPullLeftUnfinishedGivesWayToAnother) {
  PullerOptions one_by_one;
  one_by_one.max_parallel_layers = 1;
  Open(one_by_one);
  const std::string first = Offer("first", {MakeTar({{.path = "x", .content = Noise(12 << 20, 3)}}),
                                            MakeTar({{.path = "y", .content = "small"}})});
  const std::string second =
      Offer("second", {MakeTar({{.path = "z", .content = Noise(15 << 20, 4)}})});
  const std::string small = images_["first"].layers[1].digest;
  {
    FakeRegistry::HookScope hook(
        registry_,
        [&](const testing::ServerRequest& request) -> std::optional<testing::ServerReply> {
          if (!request.path.ends_with(small)) return std::nullopt;
          return testing::ServerReply{.status = 404};
        });
    EXPECT_EQ(Pull(first).code(), Code::kNotFound);
  }
  ASSERT_TRUE(store_->CollectLayers().ok());
  EXPECT_EQ(Layers(), std::set{images_["first"].diff_ids[0]});
  EXPECT_EQ(Pull(second).code(), Code::kResourceExhausted);
  // Until what was there has been deleted.
  for (int i = 0; i < 100 && !Pull(second).ok(); ++i) usleep(50'000);
  EXPECT_EQ(Layers(), std::set{images_["second"].diff_ids[0]});
}

TEST_F(PowerLossTest, PullsDoNotCountOnTheSameRoom) {
  const std::string first =
      Offer("first", {MakeTar({{.path = "x", .content = Noise(15 << 20, 3)}})});
  const std::string second =
      Offer("second", {MakeTar({{.path = "z", .content = Noise(12 << 20, 4)}})});
  std::atomic<bool> asked{false};
  std::atomic<bool> go{false};
  FakeRegistry::HookScope hook(
      registry_, [&](const testing::ServerRequest& request) -> std::optional<testing::ServerReply> {
        if (!request.path.ends_with(images_["first"].layers[0].digest)) return std::nullopt;
        asked = true;
        while (!go) usleep(1000);
        return std::nullopt;
      });
  Result<std::shared_ptr<const Image>> pulled = Error(Code::kInternal, "not pulled");
  std::thread puller([&] { pulled = Pull(first); });
  while (!asked) usleep(1000);
  auto refused = Pull(second);
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr("of which others are going to take 157"));
  EXPECT_EQ(Fetched("second", 0), 0);
  go = true;
  puller.join();
  EXPECT_TRUE(pulled.ok()) << pulled.error().message();
  ASSERT_TRUE(store_->Remove(first).ok());
  for (int i = 0; i < 100 && !Pull(second).ok(); ++i) usleep(50'000);
  EXPECT_NE(store_->Find(second), nullptr);
}

TEST_F(PowerLossTest, AReadOnlyDiskIsNamedAndAWritableOneGoesOn) {
  const std::string reference =
      Offer("v1", {MakeTar({{.path = "base", .content = kBase}}), ManyFiles()});
  // What the kernel makes of a disk that gives errors.
  ASSERT_EQ(mount(nullptr, dir_.path().c_str(), nullptr, MS_REMOUNT, "abort"), 0);
  auto pulled = Pull(reference);
  ASSERT_FALSE(pulled.ok());
  EXPECT_THAT(pulled.error().message(), HasSubstr("Read-only file system"));
  EXPECT_THAT(Layers(), IsEmpty());
  Reboot();
  ExpectWhole(reference);
}

}  // namespace
}  // namespace berth::image
