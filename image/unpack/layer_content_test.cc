// What comes out of a layer: every kind of entry, whiteouts, replacement, and hostile ones.
#include <sys/sysmacros.h>

#include "base/process.h"
#include "image/unpack/unpacker_fixture.h"

namespace berth::image {
namespace {

std::string FirstDifference(const std::string& found, const std::string& expected) {
  const auto a = Split(found, '\n');
  const auto b = Split(expected, '\n');
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i] != b[i]) return StrCat("found:    ", a[i], "\nexpected: ", b[i]);
  }
  return StrCat(a.size(), " lines, expected ", b.size());
}

TEST_F(UnpackerTest, EveryKindOfEntryWithItsMetadata) {
  const std::string capability(
      "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  TarBuilder tar;
  tar.Add({.name = "./", .type = '5', .mode = 0751});
  tar.Add({.name = "dir/", .type = '5', .mode = 02775, .uid = 5, .gid = 6, .mtime = 1234});
  tar.Add({.name = "dir/file",
           .data = "content",
           .mode = 0640,
           .uid = 1000,
           .gid = 2000,
           .mtime = 5678,
           .pax = {{"mtime", "5678.123456789"}}});
  tar.Add({.name = "setuid", .data = "x", .mode = 06755, .uid = 7, .gid = 8});
  tar.Add({.name = "huge-owner", .pax = {{"uid", "2147483647"}, {"gid", "2147483646"}}});
  tar.Add({.name = "link",
           .type = '2',
           .link = "/no/../where",
           .mode = 0777,
           .uid = 9,
           .gid = 9,
           .mtime = 77});
  tar.HardLink("hard", "dir/file");
  tar.HardLink("hardlink-to-symlink", "link");
  tar.Add({.name = "fifo", .type = '6', .mode = 0600, .uid = 3});
  tar.Add({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
  tar.Add({.name = "disk", .type = '4', .mode = 0660, .gid = 6, .major = 8, .minor = 1});
  tar.Add({.name = "capable",
           .data = "x",
           .mode = 0755,
           .uid = 1,
           .pax = {{"SCHILY.xattr.security.capability", capability},
                   {"SCHILY.xattr.user.note", "hello"},
                   {"SCHILY.xattr.user.overlay.opaque", "y"},
                   {"SCHILY.xattr.trusted.overlay.redirect", "/etc"}}});
  tar.Add({.name = "sticky",
           .type = '5',
           .mode = 01777,
           .mtime = 99,
           .pax = {{"SCHILY.xattr.user.note", "dir"}}});
  ASSERT_GOOD(Unpack(tar.Tar()));

  EXPECT_EQ(Stat(".").st_mode & 07777, 0751u);
  struct stat dir = Stat("dir");
  EXPECT_EQ(dir.st_mode & 07777, 02775u);
  EXPECT_EQ(dir.st_uid, 5u);
  EXPECT_EQ(dir.st_gid, 6u);
  EXPECT_EQ(dir.st_mtim.tv_sec, 1234);
  struct stat file = Stat("dir/file");
  EXPECT_EQ(file.st_mode & 07777, 0640u);
  EXPECT_EQ(file.st_uid, 1000u);
  EXPECT_EQ(file.st_gid, 2000u);
  EXPECT_EQ(file.st_mtim.tv_sec, 5678);
  EXPECT_EQ(file.st_mtim.tv_nsec, 123456789);
  EXPECT_EQ(Content("dir/file"), "content");
  EXPECT_EQ(Stat("hard").st_ino, file.st_ino);
  EXPECT_EQ(Stat("setuid").st_mode & 07777, 06755u);
  EXPECT_EQ(Stat("setuid").st_uid, 7u);
  EXPECT_EQ(Stat("huge-owner").st_uid, 2147483647u);
  EXPECT_EQ(Stat("huge-owner").st_gid, 2147483646u);
  EXPECT_EQ(Target("link"), "/no/../where");
  EXPECT_EQ(Stat("link").st_uid, 9u);
  EXPECT_EQ(Stat("link").st_mtim.tv_sec, 77);
  EXPECT_EQ(Stat("hardlink-to-symlink").st_ino, Stat("link").st_ino);
  EXPECT_TRUE(S_ISFIFO(Stat("fifo").st_mode));
  EXPECT_EQ(Stat("fifo").st_uid, 3u);
  EXPECT_TRUE(S_ISCHR(Stat("null").st_mode));
  EXPECT_EQ(Stat("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(Stat("null").st_mode & 07777, 0666u);
  EXPECT_TRUE(S_ISBLK(Stat("disk").st_mode));
  EXPECT_EQ(Stat("disk").st_rdev, makedev(8, 1));
  EXPECT_EQ(Xattr("capable", "security.capability"), capability);
  EXPECT_EQ(Xattr("capable", "user.note"), "hello");
  EXPECT_EQ(Xattr("capable", "user.overlay.opaque"), "none");
  EXPECT_EQ(Xattr("capable", "trusted.overlay.redirect"), "none");
  EXPECT_EQ(Stat("sticky").st_mode & 07777, 01777u);
  EXPECT_EQ(Stat("sticky").st_mtim.tv_sec, 99);
  EXPECT_EQ(Xattr("sticky", "user.note"), "dir");
}

TEST_F(UnpackerTest, SetGidDirectoriesHandNothingDown) {
  TarBuilder tar;
  tar.Add({.name = "d", .type = '5', .mode = 02755, .gid = 50});
  tar.File("d/file", "x").Dir("d/sub");
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_EQ(Stat("d/file").st_gid, 0u);
  EXPECT_EQ(Stat("d/sub").st_gid, 0u);
  EXPECT_EQ(Stat("d/sub").st_mode & 07777, 0755u);
}

TEST_F(UnpackerTest, DirectoriesWithoutAnEntryAreTheSameEverywhere) {
  TarBuilder tar;
  tar.File("a/b/file", "x");
  ASSERT_GOOD(Unpack(tar.Tar()));
  for (const char* path : {".", "a", "a/b"}) {
    EXPECT_EQ(Stat(path).st_mtim.tv_sec, 0) << path;
    EXPECT_EQ(Stat(path).st_mtim.tv_nsec, 0) << path;
    EXPECT_EQ(Stat(path).st_mode & 07777, 0755u) << path;
  }
}

TEST_F(UnpackerTest, NamesAreBytes) {
  const std::string long_path =
      std::string(200, 'a') + "/" + std::string(200, 'b') + "/" + std::string(255, 'c');
  TarBuilder tar;
  // The first link of the archive, and its target is in the pax header alone.
  tar.Add({.name = "first", .type = '2', .pax = {{"linkpath", "\xe6\x96\x87"}}});
  tar.File("latin-\xe9", "1").File("utf-\xc3\xa9", "2").File("new\nline", "3");
  tar.Add({.name = "x", .data = "4", .pax = {{"path", "pax-\xc3\xa9/\xf0\x9f\x90\xb3"}}});
  tar.Add({.name = "x", .data = "5", .pax = {{"path", "raw-\xe9\xff"}}});
  tar.Add({.name = "x", .data = "6", .pax = {{"path", long_path}}});
  tar.Add({.name = "x", .type = '2', .pax = {{"path", "sym"}, {"linkpath", long_path}}});
  tar.Add({.name = "././@LongLink", .type = 'L', .data = std::string(300 - 45, 'g') + '\0'});
  tar.File("cut", "7");
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_EQ(Target("first"), "\xe6\x96\x87");
  EXPECT_EQ(Content("latin-\xe9"), "1");
  EXPECT_EQ(Content("utf-\xc3\xa9"), "2");
  EXPECT_EQ(Content("new\nline"), "3");
  EXPECT_EQ(Content("pax-\xc3\xa9/\xf0\x9f\x90\xb3"), "4");
  EXPECT_EQ(Content("raw-\xe9\xff"), "5");
  EXPECT_EQ(Content(long_path), "6");
  EXPECT_EQ(Target("sym"), long_path);
  EXPECT_EQ(Content(std::string(255, 'g')), "7");
}

TEST_F(UnpackerTest, WhiteoutsAndOpaqueDirectories) {
  TarBuilder tar;
  tar.Dir("d").File("d/.wh.gone", "").File("e/.wh..wh..opq", "").File("e/kept", "1");
  tar.File("d/.wh..wh.plnk", "").File("d/.wh..wh.aufs", "");
  // In one layer a whiteout hides only what is below, wherever it stands.
  tar.File("f/.wh.sub", "").Dir("f/sub").File("f/sub/own", "2");
  tar.Dir("g").Dir("g/sub").File("g/sub/own", "3").File("g/.wh.sub", "");
  tar.File("h", "4").File(".wh.h", "");
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_TRUE(S_ISCHR(Stat("d/gone").st_mode));
  EXPECT_EQ(Stat("d/gone").st_rdev, makedev(0, 0));
  EXPECT_EQ(Xattr("d", "trusted.overlay.opaque"), "none");
  EXPECT_EQ(Xattr("e", "trusted.overlay.opaque"), "y");
  for (const char* name : {"d/.wh.gone", "e/.wh..wh..opq", "d/.wh..wh.plnk", "d/.wh..wh.aufs"}) {
    EXPECT_FALSE(Has(name)) << name;
  }
  EXPECT_EQ(Content("e/kept"), "1");
  EXPECT_EQ(Xattr("f/sub", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(Content("f/sub/own"), "2");
  EXPECT_EQ(Xattr("g/sub", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(Content("h"), "4");
}

TEST_F(UnpackerTest, AnOpaqueRootHidesTheLayersBelow) {
  TarBuilder lower;
  lower.File("below", "1");
  ASSERT_GOOD(Unpack(lower.Tar()));
  TarBuilder upper;
  upper.File(".wh..wh..opq", "").File("above", "2");
  ASSERT_GOOD(Unpack(upper.Tar()));
  snapshotter::SnapshotOptions options;
  options.layers = {DigestOf(lower.Tar()), DigestOf(upper.Tar())};
  ASSERT_TRUE(snapshotter_->CreateSnapshot("c", options).ok());
  auto mounted = snapshotter_->Mount("c", {});
  ASSERT_TRUE(mounted.ok());
  EXPECT_TRUE(OpenAt(mounted->get(), "above", O_RDONLY).ok());
  EXPECT_EQ(OpenAt(mounted->get(), "below", O_RDONLY).code(), Code::kNotFound);
}

TEST_F(UnpackerTest, LaterEntriesReplaceEarlierOnes) {
  TarBuilder tar;
  tar.File("a", "old").File("a", "new");
  tar.Dir("b").File("b/inner", "x").File("b", "file now");
  tar.File("c", "file").Dir("c").File("c/inner", "dir now");
  tar.Dir("d", 0700).File("d/kept", "1").Dir("d", 0711).File("d/more", "2");
  tar.Symlink("e", "d").Dir("e").File("e/own", "3");
  tar.File("f", "x").HardLink("f2", "f").File("f", "other");
  tar.Dir("g").Dir("g/h").File("g/h/x", "1").Symlink("g", "d").File("g/h/through", "4");
  tar.File("i", "x").HardLink("i", "i");
  tar.File("j", "left").File("k", "x").HardLink("k", "j");
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_EQ(Content("a"), "new");
  EXPECT_EQ(Content("b"), "file now");
  EXPECT_EQ(Content("c/inner"), "dir now");
  EXPECT_EQ(Stat("d").st_mode & 07777, 0711u);
  EXPECT_EQ(Content("d/kept"), "1");
  EXPECT_EQ(Content("d/more"), "2");
  EXPECT_EQ(Content("e/own"), "3");
  EXPECT_FALSE(Has("d/own"));
  EXPECT_EQ(Content("f"), "other");
  EXPECT_EQ(Content("f2"), "x");
  EXPECT_EQ(Target("g"), "d");
  EXPECT_EQ(Content("d/h/through"), "4");
  EXPECT_EQ(Content("i"), "x");
  EXPECT_EQ(Stat("k").st_ino, Stat("j").st_ino);
}

TEST_F(UnpackerTest, SymlinkedParentsAreResolvedInTheLayer) {
  TarBuilder tar;
  tar.Dir("usr").Dir("usr/lib").Symlink("lib", "usr/lib").File("lib/one", "1");
  tar.Symlink("abs", "/usr/lib").File("abs/two", "2");
  tar.Symlink("up", "../../../../usr").File("up/lib/three", "3");
  tar.Symlink("dangling", "/made/later").File("dangling/four", "4");
  tar.Dir("n").Symlink("n/self", "..").File("n/self/five", "5");
  tar.File("no/parent/six", "6");
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_EQ(Content("usr/lib/one"), "1");
  EXPECT_EQ(Content("usr/lib/two"), "2");
  EXPECT_EQ(Content("usr/lib/three"), "3");
  EXPECT_EQ(Content("made/later/four"), "4");
  EXPECT_EQ(Content("five"), "5");
  EXPECT_EQ(Content("no/parent/six"), "6");
  EXPECT_EQ(Stat("no/parent").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat("no/parent").st_uid, 0u);
  EXPECT_EQ(Target("lib"), "usr/lib");
}

// Each must leave the canary as it was (TearDown looks), whether it is accepted or refused. Where
// others had it, and which cases are theirs:
//   CVE-2014-6407, CVE-2014-9356  links of a layer to the host: "hard link ...", "... symlink out",
//                                 "file through a symlink to the root", "absolute name"
//   CVE-2021-32760                the mode of what a link names: "the same with mode 0777", "hard
//                                 link to a symlink out", "directory over a symlink out"
//   CVE-2020-10696, CVE-2026-17106  names and links that climb: "name that climbs ...", "hard link
//                                 up", "hard link below ...", "symlink flips with a directory"
//   CVE-2019-14271                code of the image in the process that unpacks it: "iconv modules"
// Elsewhere: CVE-2017-14992 and CVE-2025-58183 in MemoryStaysBounded and HeadersHaveABound,
// CVE-2014-9357 in TheWorkerIsShutIn, CVE-2014-8179 in WrongDigestsAreDataLossAndNothingIsKept,
// CVE-2021-20291 in TruncatedLayersOfSeveralPullsLockNothing.
TEST_F(UnpackerTest, HostileLayersStayInside) {
  const std::string dir = directory_;
  const auto any = Code::kOk;
  struct Case {
    const char* name;
    TarBuilder tar;
    Code code;  // kOk: it unpacks, inside
  };
  const Case kCases[] = {
      {"hard link to the canary", TarBuilder().HardLink("h", canary_), Code::kInvalidArgument},
      {"the same with mode 0777", TarBuilder().HardLink("h", canary_, 0777),
       Code::kInvalidArgument},
      {"hard link up", TarBuilder().HardLink("h", "../../../../canary"), Code::kInvalidArgument},
      {"hard link to a symlink out",
       TarBuilder().Symlink("s", canary_).HardLink("h", "s", 0777).File("h", "overwritten"), any},
      {"hard link below a symlink out", TarBuilder().Symlink("s", dir).HardLink("h", "s/canary"),
       Code::kInvalidArgument},
      {"hard link below a relative symlink out",
       TarBuilder().Symlink("s", "../../../..").HardLink("h", "s/canary"), Code::kInvalidArgument},
      {"file through a symlink out", TarBuilder().Symlink("s", dir).File("s/canary", "x"), any},
      {"file through a symlink to the root", TarBuilder().Symlink("a", "/").File("a/canary", "x"),
       any},
      {"file over a symlink to the canary", TarBuilder().Symlink("s", canary_).File("s", "x"), any},
      {"directory over a symlink out",
       TarBuilder().Symlink("s", dir).Dir("s", 0777).File("s/canary", "x"), any},
      {"fifo over a symlink", TarBuilder().Symlink("s", canary_).Add({.name = "s", .type = '6'}),
       any},
      {"symlink flips with a directory",
       TarBuilder()
           .Dir("d")
           .File("d/x", "1")
           .Symlink("d", dir)
           .File("d/canary", "2")
           .Dir("d")
           .File("d/canary", "3")
           .Symlink("d", "/")
           .File("d/canary", "4"),
       any},
      {"name that climbs", TarBuilder().File("../../../canary", "x"), Code::kInvalidArgument},
      {"name that climbs later", TarBuilder().File("a/../../canary", "x"), Code::kInvalidArgument},
      {"absolute name", TarBuilder().File(canary_, "x"), any},
      {"whiteout that climbs", TarBuilder().File("../.wh.canary", ""), Code::kInvalidArgument},
      {"whiteout through a symlink", TarBuilder().Symlink("s", dir).File("s/.wh.canary", ""), any},
      {"whiteout of ..", TarBuilder().File("a/.wh...", ""), Code::kInvalidArgument},
      {"whiteout of .", TarBuilder().File("a/.wh..", ""), Code::kInvalidArgument},
      {"whiteout of nothing", TarBuilder().File("a/.wh.", ""), Code::kInvalidArgument},
      {"opaque through a symlink", TarBuilder().Symlink("s", dir).File("s/.wh..wh..opq", ""), any},
      {"the root as a file", TarBuilder().File("./", "x").File("a", ""), Code::kDataLoss},
      {"the root as a symlink", TarBuilder().Symlink(".", dir).File("canary", "x"),
       Code::kInvalidArgument},
      {"symlink loop", TarBuilder().Symlink("a", "b").Symlink("b", "a").File("a/x", "1"),
       Code::kInvalidArgument},
      {"file as a parent", TarBuilder().File("a", "x").File("a/b", "1"), Code::kInvalidArgument},
      {"device as a parent",
       TarBuilder().Add({.name = "a", .type = '3', .major = 1, .minor = 5}).File("a/b", "1"),
       Code::kInvalidArgument},
      {"name of 256 bytes",
       TarBuilder().Add({.name = "x", .pax = {{"path", std::string(256, 'n')}}}),
       Code::kInvalidArgument},
      {"path of 5000 bytes",
       TarBuilder().Add({.name = "x",
                         .pax = {{"path",
                                  [] {
                                    std::string path;
                                    while (path.size() < 5000) path += "dir/";
                                    return path + "x";
                                  }()}}}),
       Code::kInvalidArgument},
      {"owner -1", TarBuilder().Add({.name = "x", .pax = {{"uid", "-1"}}}), Code::kInvalidArgument},
      {"owner 2^32", TarBuilder().Add({.name = "x", .pax = {{"uid", "4294967296"}}}),
       Code::kInvalidArgument},
      {"owner 2^31", TarBuilder().Add({.name = "x", .pax = {{"gid", "2147483648"}}}),
       Code::kInvalidArgument},
      {"iconv modules of its own",
       TarBuilder()
           .File("usr/lib/x86_64-linux-gnu/gconv/gconv-modules", "module X// Y// evil 1\n")
           .Add({.name = "x", .pax = {{"path", "\xc3\xa9"}, {"hdrcharset", "BINARY"}}})
           .Add({.name = "y", .pax = {{"path", "\xe9"}}}),
       any},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    Status status = Unpack(c.tar.Tar());
    EXPECT_EQ(status.code(), c.code) << (status.ok() ? "ok" : status.error().message());
    EXPECT_EQ(*ReadFile(canary_), "untouched");
    struct stat info {};
    ASSERT_EQ(stat(canary_.c_str(), &info), 0);
    EXPECT_EQ(info.st_nlink, 1u);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
}

TEST_F(UnpackerTest, SparseFilesKeepTheirHoles) {
  // GNU sparse format 1.0: the map is at the beginning of the content.
  std::string map = "2\n1048576\n3\n4194304\n0\n";
  map.resize(512, '\0');
  TarBuilder tar;
  tar.Add({.name = "GNUSparseFile.0/s",
           .data = map + "abc",
           .pax = {{"GNU.sparse.major", "1"},
                   {"GNU.sparse.minor", "0"},
                   {"GNU.sparse.name", "s"},
                   {"GNU.sparse.realsize", "4194304"}}});
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_EQ(Stat("s").st_size, 4194304);
  EXPECT_LE(Stat("s").st_blocks, 64);
  EXPECT_EQ(Content("s").substr(1048576 - 1, 5), std::string("\0abc\0", 5));
}

TEST_F(UnpackerTest, UsageIsWhatIsOnTheDisk) {
  TarBuilder tar;
  tar.Dir("d").File("d/a", std::string(10'000, 'x')).HardLink("d/b", "d/a").File("c", "1");
  tar.File("c", "2");
  ASSERT_GOOD(Unpack(tar.Tar()));
  auto usage = snapshotter_->LayerUsage(DigestOf(tar.Tar()));
  ASSERT_TRUE(usage.ok());
  EXPECT_EQ(usage->inodes, 4u);  // root, d, d/a, c
}

// A real tree: what we make of its archive is what tar(1) makes of it.
TEST_F(UnpackerTest, ARealTreeComesOutAsTarMakesIt) {
  const std::string archive = directory_ + "/real.tar";
  const std::string reference = directory_ + "/reference";
  ASSERT_TRUE(MakeDirs(reference, 0755).ok());
  const auto run = [](std::vector<std::string> args) {
    SpawnOptions options;
    options.path = "/bin/tar";
    options.env = {"PATH=/bin:/usr/bin"};
    options.args = std::move(args);
    auto output = RunProgram(Context::WithTimeoutMs(60'000), options, "");
    ASSERT_TRUE(output.ok()) << output.error().message();
    ASSERT_EQ(output->exit_code, 0) << output->err;
  };
  run({"tar", "--xattrs", "--format=pax", "-cf", archive, "-C", "/", "--no-recursion", "usr",
       "usr/share", "--recursion", "etc", "usr/share/zoneinfo", "usr/share/terminfo", "bin",
       "usr/share/perl5"});
  run({"tar", "--xattrs", "--delay-directory-restore", "--numeric-owner", "-xpf", archive, "-C",
       reference});
  auto tar = ReadFile(archive, size_t{1} << 30);
  ASSERT_TRUE(tar.ok());
  ASSERT_GOOD(UnpackBlob(Gzip(*tar), *tar, Compression::kGzip));
  // -printf: path, type, mode, owner, size of files, time with fraction, links, target.
  const auto list = [](const std::string& dir) {
    SpawnOptions options;
    options.path = "/bin/sh";
    options.env = {"PATH=/bin:/usr/bin", "LC_ALL=C"};
    const std::string script =
        "cd \"$1\" && find . -mindepth 1 ! -type d -printf '%p %y %m %U:%G %s %T@ %n %l\\n' "
        "-o -mindepth 1 -type d -printf '%p d %m %U:%G %T@\\n' | sort && "
        "find . -type f -exec sha256sum {} + | sort | sha256sum";
    options.args = {"sh", "-c", script, "sh", dir};
    auto output = RunProgram(Context::WithTimeoutMs(120'000), options, "", 64 << 20);
    return output.ok() ? output->out : output.error().message();
  };
  const std::string expected = list(reference);
  EXPECT_GT(expected.size(), 100'000u);
  const std::string found = list(layer_);
  EXPECT_TRUE(found == expected) << FirstDifference(found, expected);
}

}  // namespace
}  // namespace berth::image
