// The way from blob to layer: compressions, damage, limits, and workers that die.
#include "image/layer_unpacker.h"

#include <limits.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "image/unpack/limits.h"
#include "image/unpack/unpacker_fixture.h"

namespace berth::image {
namespace {

TarBuilder Sample() {
  TarBuilder tar;
  tar.Dir("d").File("d/a", std::string(100'000, 'a')).File("d/b", "b").Symlink("l", "d");
  return tar;
}

// A layer whose second entry has a sparse map of a hundred million lines of "0\n0\n".
class EndlessMapTest : public UnpackerTest {
 protected:
  Status PushEndlessMap(const Context& context) {
    TarBuilder sparse;
    sparse.File("before", "x")
        .Add({.name = "GNUSparseFile.0/s",
              .pax = {{"GNU.sparse.major", "1"},
                      {"GNU.sparse.minor", "0"},
                      {"GNU.sparse.name", "s"},
                      {"GNU.sparse.realsize", "1"},
                      {"size", "400000512"}}});
    UnpackRequest request = RequestFor("", "", Compression::kNone);
    request.size_bytes = -1;
    ASSIGN_OR_RETURN(auto unpack, unpacker_->Begin(request));
    std::string block = "100000000\n";
    Status written = unpack.Write(context, sparse.raw());
    for (int i = 0; i < 25'000 && written.ok(); ++i) {
      while (block.size() < 16'000) block += "0\n0\n";
      written = unpack.Write(context, block);
      block.clear();
    }
    return unpack.Finish(context);
  }
};

// The most memory that it has had; a value that no test takes if that cannot be read.
int PeakKib(pid_t pid) {
  auto status = ReadFile(StrCat("/proc/", pid, "/status"));
  const size_t at = status.ok() ? status->find("VmHWM:") : std::string::npos;
  return at == std::string::npos ? INT_MAX : std::atoi(status->c_str() + at + 6);
}

TEST_F(UnpackerTest, EveryCompression) {
  const std::string tar = Sample().Tar();
  const std::string half = tar.substr(0, 5000);
  const std::string rest = tar.substr(5000);
  const std::pair<std::string, Compression> kBlobs[] = {
      {tar, Compression::kNone},
      {Gzip(tar), Compression::kGzip},
      {Gzip(half) + Gzip(rest), Compression::kGzip},
      {Zstd(tar), Compression::kZstd},
      {Zstd(half) + Zstd(rest), Compression::kZstd},
  };
  for (const auto& [blob, compression] : kBlobs) {
    EXPECT_GOOD(UnpackBlob(blob, tar, compression));
    EXPECT_EQ(Content("d/a"), std::string(100'000, 'a'));
    EXPECT_EQ(Content("d/b"), "b");
    EXPECT_GOOD(snapshotter_->RemoveLayer(DigestOf(tar)));
  }
}

TEST_F(UnpackerTest, EmptyLayers) {
  EXPECT_GOOD(Unpack(std::string(1024, '\0')));
  EXPECT_GOOD(Unpack(std::string(10240, '\0')));
  EXPECT_GOOD(Unpack(""));
  EXPECT_GOOD(UnpackBlob(Gzip(""), "", Compression::kGzip));
}

TEST_F(UnpackerTest, AnArchiveWithoutItsEndIsWhole) {
  EXPECT_GOOD(Unpack(Sample().raw()));
}

TEST_F(UnpackerTest, WrongDigestsAreDataLossAndNothingIsKept) {
  const std::string tar = Sample().Tar();
  const std::string blob = Gzip(tar);
  const UnpackRequest good = RequestFor(blob, tar, Compression::kGzip);
  UnpackRequest wrong_digest = good;
  wrong_digest.digest = DigestOf("other");
  UnpackRequest wrong_diff_id = good;
  wrong_diff_id.diff_id = DigestOf("other");
  UnpackRequest wrong_size = good;
  wrong_size.size_bytes += 1;
  for (const auto& [request, text] : {std::pair{wrong_digest, "the blob's digest"},
                                      {wrong_diff_id, "the layer's diffID"},
                                      {wrong_size, "bytes, not"}}) {
    Status status = Push(request, blob);
    EXPECT_EQ(status.code(), Code::kDataLoss);
    EXPECT_NE(status.error().message().find(text), std::string::npos) << status.error().message();
    EXPECT_NE(status.error().message().find(request.digest), std::string::npos);
  }
  ExpectNothingLeft();
  EXPECT_GOOD(Push(good, blob));
}

TEST_F(UnpackerTest, TruncationsAreDataLoss) {
  const std::string tar = Sample().Tar();
  const std::pair<std::string, Compression> kBlobs[] = {
      {tar, Compression::kNone}, {Gzip(tar), Compression::kGzip}, {Zstd(tar), Compression::kZstd}};
  for (const auto& [blob, compression] : kBlobs) {
    const UnpackRequest request = RequestFor(blob, tar, compression);
    for (size_t i = 0; i < 12; ++i) {
      const size_t size = blob.size() * i / 12 + i % 3;
      Status status = Push(request, std::string_view(blob).substr(0, size));
      EXPECT_EQ(status.code(), Code::kDataLoss)
          << NameOfCode(status) << size << " of " << blob.size();
    }
  }
  ExpectNothingLeft();
}

TEST_F(UnpackerTest, GarbageIsDataLoss) {
  const std::string tar = Sample().Tar();
  std::string flipped = Gzip(tar);
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 0x40);
  std::string header = tar;
  header[512 + 3] ^= 1;  // the second header's checksum no longer fits
  const std::pair<std::string, Compression> kBlobs[] = {
      {flipped, Compression::kGzip},
      {Gzip(tar) + "trailing garbage", Compression::kGzip},
      {Zstd(tar) + "trailing garbage", Compression::kZstd},
      {tar, Compression::kGzip},
      {Gzip(tar), Compression::kZstd},
      {Gzip(tar), Compression::kNone},
      {std::string(5000, 'x'), Compression::kNone},
      {std::string("\xfd"
                   "7zXZ\0",
                   6) +
           std::string(5000, 'x'),
       Compression::kGzip},
      {std::string("\xfd"
                   "7zXZ\0",
                   6) +
           std::string(5000, 'x'),
       Compression::kNone},
      {header, Compression::kNone},
      {"", Compression::kGzip},
      {"", Compression::kZstd},
  };
  for (const auto& [blob, compression] : kBlobs) {
    Status status = UnpackBlob(blob, tar, compression);
    EXPECT_EQ(status.code(), Code::kDataLoss) << NameOfCode(status) << &blob - &kBlobs[0].first;
  }
  ExpectNothingLeft();
}

TEST_F(UnpackerTest, AFullDiskSaysSoAndLeavesNothing) {
  const std::string root = directory_ + "/tiny";
  ASSERT_TRUE(MakeDirs(root, 0700).ok());
  ASSERT_EQ(mount("tmpfs", root.c_str(), "tmpfs", 0, "size=1m"), 0);
  OpenStore(root);
  TarBuilder tar;
  for (int i = 0; i < 20; ++i) tar.File(StrCat("f", i), std::string(100'000, 'x'));
  Status status = Unpack(tar.Tar());
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << NameOfCode(status);
  EXPECT_NE(status.error().message().find("No space left"), std::string::npos)
      << status.error().message();
  ExpectNothingLeft();
  TarBuilder small;
  small.File("f", "x");
  EXPECT_GOOD(Unpack(small.Tar()));
  unpacker_.reset();
  snapshotter_.reset();
  EXPECT_EQ(umount2(root.c_str(), MNT_DETACH), 0);
}

TEST_F(UnpackerTest, AKilledWorkerIsNoticedWithoutSigpipe) {
  const std::string tar = Sample().Tar();
  const Context context = Context::WithTimeoutMs(20'000);
  ASSERT_NE(signal(SIGPIPE, SIG_DFL), SIG_ERR);
  {
    auto unpack = unpacker_->Begin(RequestFor(tar, tar, Compression::kNone));
    ASSERT_TRUE(unpack.ok()) << unpack.error().message();
    ASSERT_TRUE(unpack->Write(context, std::string_view(tar).substr(0, 3000)).ok());
    const pid_t worker = FindWorker();
    ASSERT_GT(worker, 0);
    ASSERT_EQ(kill(worker, SIGKILL), 0);
    Status written = Ok();
    for (int i = 0; i < 500 && written.ok(); ++i) {
      written = unpack->Write(context, std::string(10'000, 'x'));
      usleep(1000);
    }
    EXPECT_EQ(written.code(), Code::kUnavailable);
    Status finished = unpack->Finish(context);
    EXPECT_EQ(finished.code(), Code::kInternal);
    EXPECT_NE(finished.error().message().find("Killed"), std::string::npos)
        << finished.error().message();
  }
  ExpectNothingLeft();
  EXPECT_GOOD(Unpack(tar));
}

TEST_F(UnpackerTest, AnAbandonedUnpackEndsItsWorkerAndLeavesNothing) {
  pid_t worker = -1;
  {
    auto unpack = unpacker_->Begin(RequestFor("", "", Compression::kNone));
    ASSERT_TRUE(unpack.ok());
    worker = FindWorker();
    ASSERT_GT(worker, 0);
  }
  EXPECT_EQ(kill(worker, 0), -1);
  ExpectNothingLeft();
}

TEST_F(UnpackerTest, AWorkerThatMustWaitEndsWithTheContext) {
  auto unpack = unpacker_->Begin(RequestFor("", "", Compression::kNone));
  ASSERT_TRUE(unpack.ok());
  const pid_t worker = FindWorker();
  ASSERT_GT(worker, 0);
  ASSERT_EQ(kill(worker, SIGSTOP), 0);
  Status status;
  while (status.ok())
    status = unpack->Write(Context::WithTimeoutMs(200), std::string(1 << 20, '\0'));
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(unpack->Finish(Context::WithTimeoutMs(200)).code(), Code::kDeadlineExceeded);
}

TEST_F(UnpackerTest, TheWorkerIsShutIn) {
  TarBuilder tar;
  tar.File("first", "x");
  const Context context = Context::WithTimeoutMs(20'000);
  auto unpack = unpacker_->Begin(RequestFor(tar.Tar(), tar.Tar(), Compression::kNone));
  ASSERT_TRUE(unpack.ok());
  ASSERT_TRUE(unpack->Write(context, tar.raw()).ok());
  const std::string proc = StrCat("/proc/", FindWorker());
  // The file appears once the sandbox is closed, since it was in the data.
  bool there = false;
  for (int i = 0; i < 500 && !there; ++i) {
    there = *Exists(proc + "/root/first");
    usleep(10'000);
  }
  ASSERT_TRUE(there);
  auto status = ReadFile(proc + "/status");
  ASSERT_TRUE(status.ok());
  // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, MKNOD 27, SETFCAP 31.
  for (const char* line :
       {"CapEff:\t000000008800001b\n", "CapPrm:\t000000008800001b\n", "CapBnd:\t000000008800001b\n",
        "CapInh:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"}) {
    EXPECT_NE(status->find(line), std::string::npos) << line << *status;
  }
  auto mounts = ReadFile(proc + "/mountinfo");
  ASSERT_TRUE(mounts.ok());
  EXPECT_EQ(Split(Trim(*mounts), '\n').size(), 1u) << *mounts;
  auto root = Open(proc + "/root", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(root.ok());
  EXPECT_FALSE(OpenAt(root->get(), "proc", O_RDONLY).ok());
  struct stat layer {};
  ASSERT_EQ(fstat(root->get(), &layer), 0);
  auto fds = Open(proc + "/fd", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(fds.ok());
  EXPECT_GOOD(ForEachEntry(fds->get(), [&](const std::string& name) -> Status {
    struct stat info {};
    EXPECT_EQ(fstatat(fds->get(), name.c_str(), &info, 0), 0);
    const bool in_layer = info.st_dev == layer.st_dev;
    const bool null = S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
    EXPECT_TRUE(in_layer || null || S_ISFIFO(info.st_mode)) << name;
    if (S_ISDIR(info.st_mode)) {
      EXPECT_EQ(info.st_ino, layer.st_ino) << name;
    }
    return Ok();
  }));
  auto tasks = Open(proc + "/task", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(tasks.ok());
  int threads = 0;
  EXPECT_GOOD(ForEachEntry(tasks->get(), [&](const std::string& id) -> Status {
    ++threads;
    auto text = ReadFileAt(tasks->get(), id + "/status");
    EXPECT_NE(text->find("Seccomp:\t2\n"), std::string::npos);
    EXPECT_NE(text->find("CapEff:\t000000008800001b\n"), std::string::npos);
    return Ok();
  }));
#if !defined(__SANITIZE_THREAD__)  // it has a thread of its own
  EXPECT_EQ(threads, 3);
#endif
}

// Memory that a layer can make the worker use: zeros behind the archive, a sparse map without end.
TEST_F(EndlessMapTest, MemoryStaysBounded) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's memory has no bounds";
#endif
  const Context context = Context::WithTimeoutMs(300'000);
  const std::string megabyte(1 << 20, '\0');
  TarBuilder tar;
  tar.File("f", "x");
  UnpackRequest request = RequestFor("", "", Compression::kNone);
  request.size_bytes = -1;
  {
    auto unpack = unpacker_->Begin(request);
    ASSERT_TRUE(unpack.ok());
    ASSERT_TRUE(unpack->Write(context, tar.Tar()).ok());
    for (int i = 0; i < 256; ++i) ASSERT_TRUE(unpack->Write(context, megabyte).ok());
    EXPECT_LT(PeakKib(FindWorker()), 100 << 10);
    EXPECT_EQ(unpack->Finish(context).code(), Code::kDataLoss);  // the digests are not these
  }
  Status status = PushEndlessMap(context);
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << NameOfCode(status);
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  EXPECT_LT(used.ru_maxrss, 400 << 10);  // KiB, of the largest worker that there was
}

TEST_F(EndlessMapTest, HeadersHaveABound) {
  Status status = PushEndlessMap(Context::WithTimeoutMs(300'000));
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << NameOfCode(status);
  for (const std::string& part : {std::string("entry \"before\""), StrCat(kMaxHeaderBytes)}) {
    EXPECT_NE(status.error().message().find(part), std::string::npos) << NameOfCode(status);
  }
  ExpectNothingLeft();
}

// Content that nobody reads is skipped on the way to the next header, and is none.
TEST_F(UnpackerTest, SkippedContentIsNoHeader) {
  TarBuilder tar;
  const std::string large(2 * kMaxHeaderBytes, 'x');
  tar.Add({.name = "f", .data = large, .pax = {{"mtime", "1"}}});
  tar.Add({.name = "l", .type = '1', .data = large, .link = "f"}).File("after", "1");
  ASSERT_GOOD(Unpack(tar.Tar()));
  EXPECT_EQ(Content("after"), "1");
  EXPECT_EQ(Stat("l").st_ino, Stat("f").st_ino);
}

TEST_F(UnpackerTest, ABombIsRefused) {
  // Five GiB of zeros: a few kilobytes of zstd.
  std::string zstd;
  const std::string frame = Zstd(std::string(64 << 20, '\0'));
  for (int i = 0; i < 80; ++i) zstd += frame;
  TarBuilder tar;
  tar.File("f", "x");
  Status status = UnpackBlob(Zstd(tar.Tar()) + zstd, "", Compression::kZstd);
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << NameOfCode(status);
}

TEST_F(UnpackerTest, AMissingWorkerIsNamed) {
  LayerUnpacker unpacker("/nonexistent/berth-unpack", *snapshotter_);
  auto unpack = unpacker.Begin(RequestFor("", "", Compression::kNone));
  ASSERT_FALSE(unpack.ok());
  EXPECT_NE(unpack.error().message().find("/nonexistent/berth-unpack"), std::string::npos);
  ExpectNothingLeft();
}

}  // namespace
}  // namespace berth::image
