// What only the overlay snapshotter promises: durability marks, its directories, old kernels.
#include "snapshotter/overlay.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "base/file.h"
#include "snapshotter/overlay_mount.h"
#include "snapshotter/overlay_store.h"

namespace berth::snapshotter {
namespace {

const std::string kHex(64, 'a');

class OverlayTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
    char name[] = "/var/tmp/berth-overlay-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override {
    if (root_.empty()) return;
    auto parent = Open("/var/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    Status removed = RemoveTreeAt(parent->get(), root_.substr(strlen("/var/tmp/")));
    EXPECT_TRUE(removed.ok()) << removed.error().message();
  }

  std::unique_ptr<Snapshotter> OpenStore() {
    auto opened = OpenOverlay(root_);
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  static void Commit(Snapshotter& snapshotter, const std::string& hex) {
    auto staged = snapshotter.Stage("sha256:" + hex);
    ASSERT_TRUE(staged.ok());
    ASSERT_TRUE(OpenAt((*staged)->dir(), "f", O_WRONLY | O_CREAT, 0644).ok());
    ASSERT_TRUE(snapshotter.Commit(std::move(*staged), Usage{1, 1}).ok());
  }
  std::string MetaPath(const std::string& hex) const { return root_ + "/layers/" + hex + "/meta"; }
  std::string BootOf(const std::string& hex) const {
    auto text = ReadFile(MetaPath(hex));
    auto record = text.ok() ? ParseLayerRecord(*text) : Result<LayerRecord>(text.error());
    return record.ok() ? record->boot : record.error().message();
  }
  void SetBoot(const std::string& hex, const std::string& boot) const {
    auto dir = Open(root_ + "/layers/" + hex, O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(dir.ok());
    LayerRecord record;
    record.boot = boot;
    ASSERT_TRUE(AtomicWriteFileAt(dir->get(), "meta", FormatLayerRecord(record), 0600).ok());
  }
  static bool Eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      usleep(20'000);
    }
    return false;
  }
  bool TrashIsEmpty() const {
    bool empty = true;
    auto trash = Open(root_ + "/trash", O_RDONLY | O_DIRECTORY);
    (void)ForEachEntry(trash->get(), [&](const std::string&) -> Status {
      empty = false;
      return Ok();
    });
    return empty;
  }

  std::string root_;
};

TEST_F(OverlayTest, ALayerIsMarkedWithTheBootUntilItIsOnTheDisk) {
  auto store = OverlayStore::Open(root_);
  ASSERT_TRUE(store.ok());
  auto staged = (*store)->area()->NewStaging();
  ASSERT_TRUE(staged.ok());
  ASSERT_TRUE((*store)->AddLayer(kHex, *staged, {}).ok());
  auto boot = ReadFile("/proc/sys/kernel/random/boot_id");
  EXPECT_EQ(BootOf(kHex), Trim(*boot));
  EXPECT_TRUE((*store)->HasUnsynced());
  Status durable = (*store)->MakeDurable();
  EXPECT_TRUE(durable.ok());
  EXPECT_EQ(BootOf(kHex), kDurable);
  EXPECT_FALSE((*store)->HasUnsynced());
}

TEST_F(OverlayTest, ACommittedLayerBecomesDurableInTheBackground) {
  auto snapshotter = OpenStore();
  Commit(*snapshotter, kHex);
  EXPECT_TRUE(Eventually([&] { return BootOf(kHex) == kDurable; })) << BootOf(kHex);
}

TEST_F(OverlayTest, LayersOfAnotherBootAreDroppedAndNoOthers) {
  const std::string lost(64, 'b');
  const std::string torn(64, 'c');
  const std::string bare(64, 'd');
  const std::string this_boot(64, 'e');
  const std::string boot_id(Trim(*ReadFile("/proc/sys/kernel/random/boot_id")));
  {
    auto snapshotter = OpenStore();
    for (const auto& hex : {kHex, lost, torn, bare, this_boot}) Commit(*snapshotter, hex);
    ASSERT_TRUE(Eventually([&] { return BootOf(this_boot) == kDurable; }));
  }
  SetBoot(lost, "11111111-2222-3333-4444-555555555555");
  SetBoot(this_boot, boot_id);
  ASSERT_EQ(truncate(MetaPath(torn).c_str(), 0), 0);
  ASSERT_EQ(unlink(MetaPath(bare).c_str()), 0);
  auto snapshotter = OpenStore();
  EXPECT_EQ(*snapshotter->ListLayers(),
            (std::vector<std::string>{"sha256:" + kHex, "sha256:" + this_boot}));
  EXPECT_TRUE(Eventually([&] { return BootOf(this_boot) == kDurable; }));
  EXPECT_TRUE(Eventually([&] { return TrashIsEmpty(); }));
  EXPECT_FALSE(*Exists(root_ + "/layers/" + lost));
}

TEST_F(OverlayTest, LeftoversOfAKilledDaemonAreRemoved) {
  OpenStore().reset();
  ASSERT_TRUE(MakeDirs(root_ + "/staging/left/fs/deep/er", 0755).ok());
  ASSERT_TRUE(MakeDirs(root_ + "/trash/old/x", 0755).ok());
  auto snapshotter = OpenStore();
  EXPECT_FALSE(*Exists(root_ + "/staging/left"));
  EXPECT_TRUE(Eventually([&] { return TrashIsEmpty(); }));
}

TEST_F(OverlayTest, ContainersMayBeOnADiskOfTheirOwn) {
  const std::string disk = root_ + "/disk";
  ASSERT_TRUE(MakeDirs(disk, 0700).ok());
  ASSERT_EQ(mount("none", disk.c_str(), "tmpfs", 0, "size=16m"), 0);
  OverlayOptions options;
  options.containers_root = disk + "/containers";
  for (const char* opened : {"first", "again"}) {
    auto snapshotter = OpenOverlay(root_ + "/store", options);
    ASSERT_TRUE(snapshotter.ok()) << snapshotter.error().message();
    EXPECT_EQ((*snapshotter)->containers_root(), options.containers_root);
    Commit(**snapshotter, kHex);
    ASSERT_TRUE((*snapshotter)->CreateSnapshot("c", {{"sha256:" + kHex}}).ok());
    auto mounted = (*snapshotter)->Mount("c", {});
    ASSERT_TRUE(mounted.ok()) << mounted.error().message();
    ASSERT_TRUE(OpenAt(mounted->get(), opened, O_WRONLY | O_CREAT, 0644).ok());
    EXPECT_TRUE(*Exists(StrCat(options.containers_root, "/snapshots/c/upper/", opened)));
    EXPECT_TRUE(*Exists(options.containers_root + "/snapshots/c/upper/first"));
    EXPECT_EQ((*snapshotter)->LayersUsage()->bytes, 1u);
    EXPECT_GE((*snapshotter)->SnapshotUsage("c")->inodes, 2u);
    EXPECT_EQ(OpenOverlay(root_ + "/other", options).code(), Code::kFailedPrecondition);
  }
  auto without = OpenOverlay(root_ + "/store");
  ASSERT_TRUE(without.ok());
  EXPECT_TRUE((*without)->ListSnapshots()->empty());
  ASSERT_TRUE((*without)->CreateSnapshot("left", {}).ok());
  without->reset();
  auto moved = OpenOverlay(root_ + "/store", options);
  EXPECT_EQ(moved.code(), Code::kFailedPrecondition);
  EXPECT_NE(moved.error().message().find("snapshots has left"), std::string::npos);
  EXPECT_EQ(umount2(disk.c_str(), MNT_DETACH), 0);
}

TEST_F(OverlayTest, OneOwnerAtATime) {
  auto first = OpenStore();
  EXPECT_EQ(OpenOverlay(root_).code(), Code::kFailedPrecondition);
  first.reset();
  EXPECT_TRUE(OpenOverlay(root_).ok());
}

TEST_F(OverlayTest, ALayerRemovedAndCommittedAgainIsNotTakenForTheOldOne) {
  auto store = OverlayStore::Open(root_);
  ASSERT_TRUE(store.ok());
  for (int i = 0; i < 2; ++i) {
    auto staged = (*store)->area()->NewStaging();
    ASSERT_TRUE((*store)->AddLayer(kHex, *staged, {}).ok());
    LayerRecord record;
    ASSERT_TRUE((*store)->FindLayer(kHex, &record));
    EXPECT_EQ(record.generation, static_cast<uint64_t>(i + 1));
    ASSERT_TRUE((*store)->RemoveLayer(kHex).ok());
  }
  EXPECT_TRUE((*store)->MakeDurable().ok());
}

TEST_F(OverlayTest, KernelsBeforeLowerdirPlusAreServedByAPageOfOptions) {
  auto snapshotter = OpenStore();
  OverlayPlan plan;
  for (int i = 130; i >= 1; --i) {
    std::string hex = StrCat(i);
    hex.insert(0, 64 - hex.size(), '0');
    Commit(*snapshotter, hex);
    plan.lower.push_back({0, StrCat("layers/", hex, "/fs")});
  }
  auto store = Open(root_, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(snapshotter->CreateSnapshot("c", {}).ok());
  ASSERT_TRUE(MakeDirs(root_ + "/staging/scratch", 0700).ok());
  plan.stores.push_back({store->get(), root_});
  plan.writable = plan.stores[0];
  plan.upper = "snapshots/c/upper";
  plan.work = "snapshots/c/work";
  plan.scratch = "staging/scratch";
  auto mounted = MountOverlayByData(plan);
  ASSERT_TRUE(mounted.ok()) << mounted.error().message();
  EXPECT_TRUE(OpenAt(mounted->get(), "f", O_WRONLY).ok());
  EXPECT_TRUE(OpenAt(mounted->get(), "new", O_WRONLY | O_CREAT, 0644).ok());
  EXPECT_TRUE(*Exists(root_ + "/snapshots/c/upper/new"));
  EXPECT_EQ(ReadFile("/proc/self/mountinfo")->find(root_), std::string::npos);
}

}  // namespace
}  // namespace berth::snapshotter
