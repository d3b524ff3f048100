// What every snapshotter promises (snapshotter.h). An implementation is one line at the end.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>

#include "base/file.h"
#include "base/time.h"
#include "snapshotter/overlay.h"
#include "snapshotter/snapshotter.h"
#include "tests/testing/user_namespace.h"

namespace berth::snapshotter {
namespace {

struct Implementation {
  const char* name;
  Result<std::unique_ptr<Snapshotter>> (*open)(const std::string& root);
};

std::string DiffId(int number) {
  std::string hex = StrCat(number);
  return StrCat("sha256:", std::string(64 - hex.size(), '0'), hex);
}

template <typename T>
std::string Why(const Result<T>& result) {
  return result.ok() ? "ok" : result.error().message();
}
#define ASSERT_GOOD(expr)                  \
  do {                                     \
    auto&& good_ = (expr);                 \
    ASSERT_TRUE(good_.ok()) << Why(good_); \
  } while (0)

class SnapshotterContract : public ::testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
    char name[] = "/var/tmp/berth-snapshotter-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    Reopen();
  }
  void TearDown() override {
    snapshotter_.reset();
    if (directory_.empty()) return;
    auto parent = Open("/var/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    Status removed = RemoveTreeAt(parent->get(), directory_.substr(strlen("/var/tmp/")));
    EXPECT_TRUE(removed.ok()) << Why(removed);
  }

  std::string root() const { return directory_ + "/store"; }

  void Reopen() {
    snapshotter_.reset();
    auto opened = GetParam().open(root());
    ASSERT_TRUE(opened.ok()) << Why(opened);
    snapshotter_ = std::move(*opened);
  }

  void AddLayer(int number, const std::function<void(StagedLayer&)>& fill) {
    auto staged = snapshotter_->Stage(DiffId(number));
    ASSERT_TRUE(staged.ok()) << Why(staged);
    fill(**staged);
    ASSERT_GOOD(
        snapshotter_->Commit(std::move(*staged), Usage{4096u * static_cast<unsigned>(number), 1}));
  }
  // A layer with one file that is its own, and one that every layer has.
  void AddPlainLayer(int number) {
    AddLayer(number, [&](StagedLayer& layer) {
      WriteAt(layer.dir(), StrCat("own-", number), StrCat(number));
      WriteAt(layer.dir(), "common", StrCat(number));
    });
  }

  static void WriteAt(int dir, const std::string& name, const std::string& text) {
    auto fd = OpenAt(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(fd.ok()) << Why(fd);
    ASSERT_GOOD(WriteAll(fd->get(), text));
  }
  static std::string ReadAt(int dir, const std::string& name) {
    auto text = ReadFileAt(dir, name);
    return text.ok() ? *text : "error: " + text.error().message();
  }
  static std::vector<std::string> Names(int dir, const std::string& path) {
    std::vector<std::string> names;
    auto fd = OpenAt(dir, path, O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) return {fd.error().message()};
    (void)ForEachEntry(fd->get(), [&](const std::string& name) -> Status {
      names.push_back(name);
      return Ok();
    });
    std::sort(names.begin(), names.end());
    return names;
  }
  static bool Missing(int dir, const std::string& name) {
    struct stat info {};
    return fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
  }
  static SnapshotOptions Layers(int from, int to) {
    SnapshotOptions options;
    for (int i = from; i <= to; ++i) options.layers.push_back(DiffId(i));
    return options;
  }
  // Waits for what happens in the background.
  static bool Eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 1500; ++i) {
      if (condition()) return true;
      usleep(20'000);
    }
    return false;
  }

  std::string directory_;
  std::unique_ptr<Snapshotter> snapshotter_;
};

TEST_P(SnapshotterContract, MountsOneThreeAndManyLayersInOrder) {
  constexpr int kMany = 130;
  for (int i = 1; i <= kMany; ++i) AddPlainLayer(i);
  for (int count : {1, 3, kMany}) {
    const std::string id = StrCat("c-", count);
    ASSERT_GOOD(snapshotter_->CreateSnapshot(id, Layers(1, count)));
    const int64_t before = MonotonicNs();
    auto mounted = snapshotter_->Mount(id, {});
    ASSERT_TRUE(mounted.ok()) << Why(mounted);
    RecordProperty(StrCat("mount_us_", count), static_cast<int>((MonotonicNs() - before) / 1000));
    EXPECT_EQ(ReadAt(mounted->get(), "common"), StrCat(count));
    for (int i = 1; i <= count; ++i)
      EXPECT_EQ(ReadAt(mounted->get(), StrCat("own-", i)), StrCat(i));
    EXPECT_TRUE(Missing(mounted->get(), StrCat("own-", count + 1)));
  }
}

TEST_P(SnapshotterContract, NoLayersGiveAnEmptyWritableRoot) {
  ASSERT_GOOD(snapshotter_->CreateSnapshot("none", {}));
  auto mounted = snapshotter_->Mount("none", {});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  EXPECT_TRUE(Names(mounted->get(), ".").empty());
  WriteAt(mounted->get(), "new", "x");
  struct stat info {};
  ASSERT_EQ(fstatat(mounted->get(), ".", &info, 0), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);
  auto read_only = snapshotter_->Mount("none", {.read_only = true});
  ASSERT_TRUE(read_only.ok()) << Why(read_only);
  EXPECT_TRUE(Names(read_only->get(), ".").empty());
}

TEST_P(SnapshotterContract, WhiteoutsAndOpaqueDirectoriesHideWhatIsBelow) {
  AddLayer(1, [](StagedLayer& layer) {
    WriteAt(layer.dir(), "gone", "1");
    WriteAt(layer.dir(), "stays", "1");
    for (const char* name : {"d", "d/sub", "plain"}) ASSERT_EQ(mkdirat(layer.dir(), name, 0755), 0);
    WriteAt(layer.dir(), "d/lower", "1");
    WriteAt(layer.dir(), "d/sub/lower", "1");
    WriteAt(layer.dir(), "plain/lower", "1");
  });
  AddLayer(2, [](StagedLayer& layer) {
    ASSERT_EQ(mknodat(layer.dir(), "gone", S_IFCHR, makedev(0, 0)), 0);
    for (const char* name : {"d", "d/sub", "plain"}) ASSERT_EQ(mkdirat(layer.dir(), name, 0755), 0);
    WriteAt(layer.dir(), "d/upper", "2");
    WriteAt(layer.dir(), "plain/upper", "2");
    ASSERT_GOOD(layer.SetOpaque("d/sub"));
    ASSERT_GOOD(layer.SetOpaque("d"));
  });
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 2)));
  for (bool read_only : {false, true}) {
    auto mounted = snapshotter_->Mount("c", {.read_only = read_only});
    ASSERT_TRUE(mounted.ok()) << Why(mounted);
    EXPECT_EQ(Names(mounted->get(), "."), (std::vector<std::string>{"d", "plain", "stays"}));
    EXPECT_EQ(Names(mounted->get(), "d"), (std::vector<std::string>{"sub", "upper"}));
    EXPECT_TRUE(Names(mounted->get(), "d/sub").empty());
    EXPECT_EQ(Names(mounted->get(), "plain"), (std::vector<std::string>{"lower", "upper"}));
  }
}

TEST_P(SnapshotterContract, AnOpaqueRootHidesAllLayersBelowIt) {
  AddPlainLayer(1);
  AddLayer(2, [](StagedLayer& layer) {
    WriteAt(layer.dir(), "two", "2");
    ASSERT_GOOD(layer.SetOpaque("."));
  });
  AddPlainLayer(3);
  Reopen();
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 3)));
  auto mounted = snapshotter_->Mount("c", {});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  EXPECT_EQ(Names(mounted->get(), "."), (std::vector<std::string>{"common", "own-3", "two"}));
}

TEST_P(SnapshotterContract, OpaquePathsAreNotFollowedOutOfTheLayer) {
  AddLayer(1, [&](StagedLayer& layer) {
    ASSERT_EQ(symlinkat(directory_.c_str(), layer.dir(), "out"), 0);
    ASSERT_EQ(mkdirat(layer.dir(), "real", 0755), 0);
    ASSERT_EQ(symlinkat("real", layer.dir(), "link"), 0);
    for (const char* path : {"out", "out/store", "link", "../fs", "/", "real/../..", "missing"}) {
      EXPECT_FALSE(layer.SetOpaque(path).ok()) << path;
    }
  });
}

TEST_P(SnapshotterContract, AReadOnlyMountRefusesWritesAndShowsLayersOnly) {
  AddPlainLayer(1);
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 1)));
  {
    auto writable = snapshotter_->Mount("c", {});
    ASSERT_TRUE(writable.ok()) << Why(writable);
    WriteAt(writable->get(), "scratch", "x");
  }
  auto mounted = snapshotter_->Mount("c", {.read_only = true});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  EXPECT_EQ(Names(mounted->get(), "."), (std::vector<std::string>{"common", "own-1"}));
  EXPECT_EQ(OpenAt(mounted->get(), "new", O_WRONLY | O_CREAT, 0644).error().sys_errno(), EROFS);
  EXPECT_EQ(OpenAt(mounted->get(), "common", O_WRONLY).error().sys_errno(), EROFS);
}

TEST_P(SnapshotterContract, LayersMountWithoutASnapshot) {
  AddPlainLayer(1);
  AddPlainLayer(2);
  auto mounted = snapshotter_->MountLayers(Layers(1, 2).layers, {});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  EXPECT_EQ(ReadAt(mounted->get(), "common"), "2");
  EXPECT_EQ(OpenAt(mounted->get(), "common", O_WRONLY).error().sys_errno(), EROFS);
  EXPECT_TRUE(snapshotter_->ListSnapshots()->empty());
  EXPECT_EQ(snapshotter_->MountLayers(Layers(2, 3).layers, {}).code(), Code::kNotFound);
}

TEST_P(SnapshotterContract, AUserNamespaceMapsTheLayersIds) {
  AddLayer(1, [](StagedLayer& layer) {
    WriteAt(layer.dir(), "roots", "x");
    WriteAt(layer.dir(), "others", "x");
    ASSERT_EQ(fchownat(layer.dir(), "others", 1000, 2000, 0), 0);
  });
  const UniqueFd ns = ::berth::testing::SomeUserNamespace();
  if (!ns.ok()) GTEST_SKIP() << "this machine allows no user namespaces";
  auto owner = [](int dir, const char* name) {
    struct stat info {};
    EXPECT_EQ(fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW), 0) << name;
    return StrCat(info.st_uid, ":", info.st_gid);
  };
  SnapshotOptions options = Layers(1, 1);
  options.uid = options.gid = 100000;
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", options));
  {
    auto mounted = snapshotter_->Mount("c", {.user_namespace = ns.get()});
    ASSERT_TRUE(mounted.ok()) << Why(mounted);
    EXPECT_EQ(owner(mounted->get(), "."), "100000:100000");
    EXPECT_EQ(owner(mounted->get(), "roots"), "100000:100000");
    EXPECT_EQ(owner(mounted->get(), "others"), "101000:102000");
    // What is copied up keeps its owner.
    WriteAt(mounted->get(), "others", "y");
    EXPECT_EQ(owner(mounted->get(), "others"), "101000:102000");
  }
  auto again = snapshotter_->Mount("c", {.user_namespace = ns.get()});
  ASSERT_TRUE(again.ok()) << Why(again);
  EXPECT_EQ(owner(again->get(), "others"), "101000:102000");
  EXPECT_EQ(ReadAt(again->get(), "others"), "y");
  auto plain = snapshotter_->MountLayers(options.layers, {});
  ASSERT_TRUE(plain.ok()) << Why(plain);
  EXPECT_EQ(owner(plain->get(), "others"), "1000:2000");
}

TEST_P(SnapshotterContract, WritesStayInTheirSnapshotAndOutliveTheMount) {
  AddPlainLayer(1);
  for (const char* id : {"a", "b"}) ASSERT_GOOD(snapshotter_->CreateSnapshot(id, Layers(1, 1)));
  for (int round = 0; round < 3; ++round) {
    auto mounted = snapshotter_->Mount("a", {});
    ASSERT_TRUE(mounted.ok()) << Why(mounted);
    EXPECT_EQ(ReadAt(mounted->get(), "common"), round == 0 ? "1" : StrCat("round ", round - 1));
    WriteAt(mounted->get(), "common", StrCat("round ", round));
    if (round == 1) Reopen();
  }
  auto other = snapshotter_->Mount("b", {});
  ASSERT_TRUE(other.ok()) << Why(other);
  EXPECT_EQ(ReadAt(other->get(), "common"), "1");
}

TEST_P(SnapshotterContract, AMountIsDetachedAndCanBeAttachedInAnotherNamespace) {
  AddPlainLayer(1);
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 1)));
  auto mounted = snapshotter_->Mount("c", {});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  auto mounts = ReadFile("/proc/self/mountinfo");
  ASSERT_TRUE(mounts.ok());
  EXPECT_EQ(mounts->find(directory_), std::string::npos);
  ASSERT_GOOD(MakeDirs(directory_ + "/target", 0755));
  const pid_t child = fork();
  if (child == 0) {
    const std::string target = directory_ + "/target";
    if (unshare(CLONE_NEWNS) != 0) _exit(1);
    if (syscall(SYS_move_mount, mounted->get(), "", AT_FDCWD, target.c_str(),
                MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      _exit(2);
    }
    _exit(access((target + "/own-1").c_str(), R_OK) == 0 ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(SnapshotterContract, EveryVerbMayBeRepeated) {
  AddPlainLayer(1);
  AddPlainLayer(1);
  EXPECT_EQ(snapshotter_->ListLayers()->size(), 1u);
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 1)));
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 1)));
  EXPECT_EQ(snapshotter_->CreateSnapshot("c", {}).code(), Code::kAlreadyExists);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(snapshotter_->RemoveSnapshot("c").ok());
    EXPECT_TRUE(snapshotter_->RemoveLayer(DiffId(1)).ok());
  }
  EXPECT_TRUE(snapshotter_->ListLayers()->empty());
  EXPECT_TRUE(snapshotter_->ListSnapshots()->empty());
  AddPlainLayer(1);
  EXPECT_TRUE(snapshotter_->HasLayer(DiffId(1)));
}

TEST_P(SnapshotterContract, AStagedLayerThatIsDroppedLeavesNothing) {
  {
    auto staged = snapshotter_->Stage(DiffId(1));
    ASSERT_TRUE(staged.ok());
    WriteAt((*staged)->dir(), "file", "x");
    EXPECT_FALSE(snapshotter_->HasLayer(DiffId(1)));
  }
  EXPECT_FALSE(snapshotter_->HasLayer(DiffId(1)));
  EXPECT_EQ(snapshotter_->CreateSnapshot("c", Layers(1, 1)).code(), Code::kNotFound);
}

TEST_P(SnapshotterContract, MissingThingsAreNotFoundByName) {
  AddPlainLayer(1);
  Status created = snapshotter_->CreateSnapshot("c", Layers(1, 2));
  EXPECT_EQ(created.code(), Code::kNotFound);
  EXPECT_NE(Why(created).find(DiffId(2)), std::string::npos) << Why(created);
  EXPECT_EQ(snapshotter_->LayerUsage(DiffId(2)).code(), Code::kNotFound);
  EXPECT_EQ(snapshotter_->Mount("c", {}).code(), Code::kNotFound);
  EXPECT_EQ(snapshotter_->SnapshotUsage("c").code(), Code::kNotFound);
  EXPECT_EQ(snapshotter_->RecentUsage("c").code(), Code::kNotFound);
  ASSERT_GOOD(snapshotter_->CreateSnapshot("d", Layers(1, 1)));
  ASSERT_GOOD(snapshotter_->RemoveLayer(DiffId(1)));
  auto mounted = snapshotter_->Mount("d", {});
  EXPECT_EQ(mounted.code(), Code::kNotFound);
  EXPECT_NE(Why(mounted).find(DiffId(1)), std::string::npos) << Why(mounted);
}

TEST_P(SnapshotterContract, HostileNamesAreRefused) {
  for (const char* id : {"", ".", "..", "../x", "a/b", "/abs", "a\nb"}) {
    EXPECT_EQ(snapshotter_->CreateSnapshot(id, {}).code(), Code::kInvalidArgument) << id;
    EXPECT_EQ(snapshotter_->RemoveSnapshot(id).code(), Code::kInvalidArgument) << id;
  }
  std::string upper = DiffId(1);
  upper.back() = 'A';
  for (const std::string& id : {std::string("sha256:../../../x"), std::string("sha256:ab"), upper,
                                DiffId(1).substr(7), "sha512:" + DiffId(1).substr(7)}) {
    EXPECT_EQ(snapshotter_->Stage(id).code(), Code::kInvalidArgument) << id;
    EXPECT_EQ(snapshotter_->RemoveLayer(id).code(), Code::kInvalidArgument) << id;
  }
}

TEST_P(SnapshotterContract, EverythingIsThereAfterARestart) {
  AddPlainLayer(1);
  AddPlainLayer(2);
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 2)));
  Reopen();
  EXPECT_EQ(*snapshotter_->ListLayers(), (std::vector<std::string>{DiffId(1), DiffId(2)}));
  EXPECT_EQ(*snapshotter_->ListSnapshots(), std::vector<std::string>{"c"});
  EXPECT_EQ(snapshotter_->LayerUsage(DiffId(2))->bytes, 8192u);
  auto mounted = snapshotter_->Mount("c", {});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  EXPECT_EQ(ReadAt(mounted->get(), "common"), "2");
}

TEST_P(SnapshotterContract, UsageCountsBytesAndHardLinksOnce) {
  AddPlainLayer(1);
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", Layers(1, 1)));
  auto before = snapshotter_->SnapshotUsage("c");
  ASSERT_TRUE(before.ok()) << Why(before);
  auto mounted = snapshotter_->Mount("c", {});
  ASSERT_TRUE(mounted.ok()) << Why(mounted);
  ASSERT_EQ(mkdirat(mounted->get(), "d", 0755), 0);
  WriteAt(mounted->get(), "d/big", std::string(1 << 20, 'x'));
  ASSERT_EQ(linkat(mounted->get(), "d/big", mounted->get(), "second", 0), 0);
  auto after = snapshotter_->SnapshotUsage("c");
  ASSERT_TRUE(after.ok()) << Why(after);
  EXPECT_EQ(after->inodes - before->inodes, 2u);
  EXPECT_GE(after->bytes - before->bytes, 1u << 20);
  EXPECT_LE(after->bytes - before->bytes, (1u << 20) + 16384);
  auto recent = snapshotter_->RecentUsage("c");
  ASSERT_TRUE(recent.ok()) << Why(recent);
  EXPECT_EQ(recent->usage.bytes, after->bytes);
  EXPECT_EQ(recent->usage.inodes, after->inodes);
  auto total = snapshotter_->SnapshotsUsage();
  ASSERT_TRUE(total.ok()) << Why(total);
  EXPECT_EQ(total->bytes, after->bytes);
  EXPECT_EQ(total->inodes, after->inodes);
  auto layers = snapshotter_->LayersUsage();
  ASSERT_TRUE(layers.ok()) << Why(layers);
  EXPECT_EQ(layers->bytes, 4096u);
  EXPECT_EQ(layers->inodes, 1u);
}

TEST_P(SnapshotterContract, DeepTreesAreMeasuredAndRemoved) {
  ASSERT_GOOD(snapshotter_->CreateSnapshot("c", {}));
  constexpr int kDepth = 5000;  // far beyond PATH_MAX and the limit of open files
  {
    auto mounted = snapshotter_->Mount("c", {});
    ASSERT_TRUE(mounted.ok()) << Why(mounted);
    UniqueFd dir = std::move(*mounted);
    for (int i = 0; i < kDepth; ++i) {
      ASSERT_EQ(mkdirat(dir.get(), "deep", 0755), 0);
      auto next = OpenAt(dir.get(), "deep", O_RDONLY | O_DIRECTORY);
      ASSERT_TRUE(next.ok()) << Why(next);
      dir = std::move(*next);
    }
  }
  auto usage = snapshotter_->SnapshotUsage("c");
  ASSERT_TRUE(usage.ok()) << Why(usage);
  EXPECT_GE(usage->inodes, static_cast<uint64_t>(kDepth));
  ASSERT_GOOD(snapshotter_->RemoveSnapshot("c"));
  struct stat info {};
  ASSERT_EQ(stat(root().c_str(), &info), 0);
  EXPECT_TRUE(Eventually([&] {
    auto fd = Open(directory_, O_RDONLY | O_DIRECTORY);
    return fd.ok() && Names(fd->get(), "store/trash").empty();
  }));
}

TEST_P(SnapshotterContract, NobodyElseOnTheHostLooksInside) {
  AddPlainLayer(1);
  struct stat info {};
  ASSERT_EQ(stat(root().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  EXPECT_EQ(chmod(directory_.c_str(), 0755), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(1);
    _exit(open((root() + "/layers").c_str(), O_RDONLY) < 0 && errno == EACCES ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(All, SnapshotterContract,
                         ::testing::Values(Implementation{"overlay", &OpenOverlay}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace berth::snapshotter
