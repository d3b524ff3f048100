// Formats that registries serve: the kinds of tar, of compression, and the sizes at their ends.
#include <thread>

#include "base/process.h"
#include "image/unpack/unpacker_fixture.h"

namespace berth::image {
namespace {

std::string LittleEndian32(size_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

// RFC 8878, 3.1.2.
std::string SkippableFrame(const std::string& content) {
  return std::string("\x50\x2a\x4d\x18", 4) + LittleEndian32(content.size()) + content;
}

// The 51 bytes that end an eStargz blob: an empty gzip member whose extra field (RFC 1952, 2.3.1.1)
// has the offset of the table of contents.
std::string StargzFooter() {
  std::string out("\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0", 16);
  out += "0000000000000400STARGZ";
  return out + std::string("\x01\0\0\xff\xff\0\0\0\0\0\0\0\0", 13);
}

TEST_F(UnpackerTest, ZstdChunkedIsAPlainLayer) {
  TarBuilder one;
  one.File("a", std::string(70'000, 'a'));
  TarBuilder two;
  two.Dir("d").File("d/b", "b");
  const std::string tar = one.raw() + two.Tar();
  // A frame for each file, then the manifest, the tar-split data and the footer as frames to skip.
  const std::string blob = SkippableFrame("first") + Zstd(one.raw()) + SkippableFrame("") +
                           Zstd(two.Tar()) + SkippableFrame(std::string(5000, 'm')) +
                           SkippableFrame(std::string(64, 'f'));
  ASSERT_GOOD(UnpackBlob(blob, tar, Compression::kZstd));
  EXPECT_EQ(Content("a"), std::string(70'000, 'a'));
  EXPECT_EQ(Content("d/b"), "b");
}

TEST_F(UnpackerTest, AFrameToSkipThatIsCutOffIsTruncation) {
  TarBuilder tar;
  tar.File("a", "1");
  const std::string frame = SkippableFrame(std::string(100, 'm'));
  for (size_t cut : {size_t{1}, size_t{50}, size_t{100}, size_t{104}}) {
    const std::string blob = Zstd(tar.Tar()) + frame.substr(0, frame.size() - cut);
    EXPECT_EQ(UnpackBlob(blob, tar.Tar(), Compression::kZstd).code(), Code::kDataLoss) << cut;
  }
}

TEST_F(UnpackerTest, EStargzIsAPlainLayer) {
  // A member for each chunk of a file, whose headers carry names of their own.
  TarBuilder file;
  file.File(".no.prefetch.landmark", "\x0f").File("usr/bin/tool", std::string(200'000, 't'));
  TarBuilder toc;
  toc.File("stargz.index.json", R"({"version":1,"entries":[]})");
  const std::string first = file.raw().substr(0, 1536);
  const std::string second = file.raw().substr(1536);
  const std::string tar = file.raw() + toc.Tar();
  ASSERT_EQ(StargzFooter().size(), 51u);
  ASSERT_GOOD(UnpackBlob(Gzip(first) + Gzip(second) + Gzip(toc.Tar()) + StargzFooter(), tar,
                         Compression::kGzip));
  EXPECT_EQ(Content("usr/bin/tool"), std::string(200'000, 't'));
  EXPECT_TRUE(Has("stargz.index.json"));
}

// What tar(1) writes in each of its formats, with what that format can hold.
TEST_F(UnpackerTest, EveryFormatOfTar) {
  const std::string source = directory_ + "/source";
  const std::string shorter(90, 's');
  const std::string longer = std::string(150, 'l') + "/" + std::string(120, 'm');
  ASSERT_TRUE(MakeDirs(source + "/" + std::string(150, 'l'), 0755).ok());
  const auto write = [&source](const std::string& name, const char* text, mode_t mode) {
    auto file = Open(source + "/" + name, O_WRONLY | O_CREAT | O_EXCL, mode);
    return file.ok() && fchmod(file->get(), mode) == 0 && WriteAll(file->get(), text).ok();
  };
  ASSERT_TRUE(write(shorter, "short", 0640));
  ASSERT_TRUE(write(longer, "long", 0600));
  ASSERT_EQ(link((source + "/" + shorter).c_str(), (source + "/zhard").c_str()), 0);
  ASSERT_EQ(symlink("/elsewhere", (source + "/zlink").c_str()), 0);
  for (const char* format : {"v7", "oldgnu", "gnu", "ustar", "posix"}) {
    SCOPED_TRACE(format);
    const bool any_length = std::string_view(format) != "v7" && std::string_view(format) != "ustar";
    const std::string archive = StrCat(directory_, "/", format, ".tar");
    SpawnOptions options;
    options.path = "/bin/tar";
    options.env = {"PATH=/bin:/usr/bin"};
    options.args = {"tar",         StrCat("--format=", format),
                    "--sort=name", "-cf",
                    archive,       "-C",
                    source,        shorter,
                    "zhard",       "zlink"};
    if (any_length) options.args.push_back(longer);
    auto made = RunProgram(Context::WithTimeoutMs(60'000), options, "");
    ASSERT_TRUE(made.ok() && made->exit_code == 0) << (made.ok() ? made->err : "");
    auto tar = ReadFile(archive, 1 << 20);
    ASSERT_TRUE(tar.ok());
    ASSERT_GOOD(UnpackBlob(Gzip(*tar), *tar, Compression::kGzip));
    EXPECT_EQ(Content(shorter), "short");
    EXPECT_EQ(Stat(shorter).st_mode & 07777, 0640u);
    EXPECT_EQ(Stat("zhard").st_ino, Stat(shorter).st_ino);
    EXPECT_EQ(Target("zlink"), "/elsewhere");
    if (any_length) {
      EXPECT_EQ(Content(longer), "long");
    }
  }
}

TEST_F(UnpackerTest, SizesBeyondTheHeadersField) {
  // 9 GiB by a pax record: a sparse file of that size, and one whose content is cut off.
  constexpr const char* kNineGib = "9663676416";
  std::string map = StrCat("1\n", kNineGib, "\n0\n");
  map.resize(512, '\0');
  TarBuilder sparse;
  sparse.Add({.name = "GNUSparseFile.0/s",
              .data = map,
              .pax = {{"GNU.sparse.major", "1"},
                      {"GNU.sparse.minor", "0"},
                      {"GNU.sparse.name", "s"},
                      {"GNU.sparse.realsize", kNineGib}}});
  sparse.File("after", "1");
  ASSERT_GOOD(Unpack(sparse.Tar()));
  EXPECT_EQ(Stat("s").st_size, 9663676416);
  EXPECT_LE(Stat("s").st_blocks, 64);
  EXPECT_EQ(Content("after"), "1");

  TarBuilder cut;
  cut.Add({.name = "big", .data = "x", .pax = {{"size", kNineGib}}}).File("inside", "2");
  EXPECT_EQ(Unpack(cut.Tar()).code(), Code::kDataLoss);

  for (const char* size : {"-1", "1099511627777", "18446744073709551616"}) {
    TarBuilder tar;
    tar.Add({.name = "x", .data = "x", .pax = {{"size", size}}});
    EXPECT_FALSE(Unpack(tar.Tar()).ok()) << size;
  }
  EXPECT_TRUE(StoreDirIsEmpty("staging"));
}

TEST_F(UnpackerTest, NamesOfFourKibibytes) {
  std::string path;
  while (path.size() < 4096 - 8) path += "seven77/";
  path += std::string(4096 - path.size(), 'x');
  TarBuilder tar;
  tar.Add({.name = "x", .data = "deep", .pax = {{"path", path}}});
  tar.Add({.name = "l", .type = '2', .pax = {{"linkpath", path.substr(0, 4095)}}});
  ASSERT_GOOD(Unpack(tar.Tar()));
  // Longer than a path may be for the kernel, so step by step.
  auto at = Open(layer_, O_RDONLY | O_DIRECTORY);
  const auto parts = Split(path, '/');
  for (size_t i = 0; at.ok() && i + 1 < parts.size(); ++i) {
    at = OpenAt(at->get(), std::string(parts[i]), O_RDONLY | O_DIRECTORY);
  }
  ASSERT_TRUE(at.ok()) << at.error().message();
  auto file = OpenAt(at->get(), std::string(parts.back()), O_RDONLY);
  ASSERT_TRUE(file.ok());
  char content[16];
  EXPECT_EQ(read(file->get(), content, sizeof content), 4);
  struct stat link = Stat("l");
  EXPECT_EQ(link.st_size, 4095);
}

// CVE-2021-20291: a bad layer of one pull must not stand in the way of another's.
TEST_F(UnpackerTest, TruncatedLayersOfSeveralPullsLockNothing) {
  TarBuilder tar;
  for (int i = 0; i < 50; ++i) tar.File(StrCat("f", i), std::string(20'000, 'x'));
  const std::string blob = Gzip(tar.Tar());
  const UnpackRequest request = RequestFor(blob, tar.Tar(), Compression::kGzip);
  std::vector<std::thread> pulls;
  std::vector<Status> outcomes(8);
  for (size_t i = 0; i < outcomes.size(); ++i) {
    pulls.emplace_back([&, i] {
      outcomes[i] = Push(request, std::string_view(blob).substr(0, blob.size() * i / 8));
    });
  }
  for (std::thread& pull : pulls) pull.join();
  for (const Status& outcome : outcomes) EXPECT_EQ(outcome.code(), Code::kDataLoss);
  EXPECT_GOOD(Push(request, blob));
}

TEST_F(UnpackerTest, AMillionMembers) {
  TarBuilder files;
  TarBuilder again;
  for (int i = 0; i < 1000; ++i) {
    files.File(StrCat("f", i), "x");
    again.HardLink(StrCat("f", i), StrCat("f", i));
  }
  constexpr int kRepeats = 1000;
  const std::string end(1024, '\0');
  Sha256 hash;
  hash.Update(files.raw());
  for (int i = 1; i < kRepeats; ++i) hash.Update(again.raw());
  hash.Update(end);
  UnpackRequest request;
  request.diff_id = StrCat("sha256:", hash.Hex());
  request.compression = Compression::kNone;
  const Context context = Context::WithTimeoutMs(200'000);
  auto unpack = unpacker_->Begin(request);
  ASSERT_TRUE(unpack.ok());
  ASSERT_GOOD(unpack->Write(context, files.raw()));
  for (int i = 1; i < kRepeats; ++i) ASSERT_GOOD(unpack->Write(context, again.raw()));
  ASSERT_GOOD(unpack->Write(context, end));
  ASSERT_GOOD(unpack->Finish(context));
  auto usage = snapshotter_->LayerUsage(request.diff_id);
  ASSERT_TRUE(usage.ok());
  EXPECT_EQ(usage->inodes, 1001u);
}

}  // namespace
}  // namespace berth::image
