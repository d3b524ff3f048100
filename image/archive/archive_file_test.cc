#include "image/archive/archive_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <random>

#include "base/file.h"
#include "image/archive/tar_index.h"
#include "tests/testing/image_builder.h"
#include "tests/testing/temp_dir.h"

namespace berth::image {
namespace {

using testing::EntryType;
using ::testing::HasSubstr;
using testing::MakeTar;
using ::testing::UnorderedElementsAre;

class ArchiveFileTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, std::string_view bytes) {
    EXPECT_TRUE(AtomicWriteFileAt(AT_FDCWD, dir_ / name, bytes, 0600).ok());
    return dir_ / name;
  }
  // Name=content of all members.
  static std::vector<std::string> ContentOf(ArchiveSource& source) {
    std::vector<std::string> out;
    for (size_t i = 0; i < source.members().size(); ++i) {
      const ArchiveMember& member = source.members()[i];
      auto bytes = source.Read(Context::Background(), i, 0, member.size_bytes);
      out.push_back(StrCat(member.name, "=", bytes.ok() ? *bytes : bytes.error().message()));
    }
    return out;
  }
  std::vector<std::string> Read(const std::string& path) {
    auto source = OpenArchive(path);
    if (!source.ok())
      return {StrCat("error ", static_cast<int>(source.code()), " ", source.error().message())};
    return ContentOf(**source);
  }
  std::vector<std::string> ReadTar(const std::string& tar) { return Read(Write("a.tar", tar)); }

  testing::TempDir dir_;
};

// One header block with a right checksum.
std::string Header(const std::string& name, char type, const std::string& size,
                   const std::string& link = "") {
  std::string block(512, '\0');
  block.replace(0, name.size(), name);
  block.replace(124, size.size(), size);
  block.replace(148, 8, "        ");
  block[156] = type;
  block.replace(157, link.size(), link);
  block.replace(257, 6, std::string("ustar\0", 6));
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  char text[8];
  snprintf(text, sizeof text, "%06o", sum);
  block.replace(148, 7, text, 7);
  return block;
}
std::string Padded(std::string content) {
  content.resize((content.size() + 511) / 512 * 512);
  return content;
}

TEST_F(ArchiveFileTest, TarsOfEveryCompressionAndDirectoriesAreTheSame) {
  const std::string long_name = std::string(90, 'd') + "/" + std::string(150, 'n');
  const std::string tar = MakeTar({{.path = "./index.json", .content = "{}"},
                                   {.path = "d", .type = EntryType::kDirectory},
                                   {.path = "d/x", .content = std::string(2'000'000, 'x')},
                                   {.path = long_name, .content = "long"}});
  const auto expected = UnorderedElementsAre("index.json={}", "d/x=" + std::string(2'000'000, 'x'),
                                             long_name + "=long");
  for (Compression compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    EXPECT_THAT(ReadTar(testing::Compress(tar, compression)), expected);
  }
  ASSERT_TRUE(MakeDirs(dir_ / "layout/d", 0700).ok());
  ASSERT_TRUE(MakeDirs(dir_ / "layout/" + std::string(90, 'd'), 0700).ok());
  Write("layout/index.json", "{}");
  Write("layout/d/x", std::string(2'000'000, 'x'));
  Write("layout/" + long_name, "long");
  Write("secret", "secret");
  ASSERT_EQ(symlink("../secret", (dir_ / "layout/out").c_str()), 0);
  EXPECT_THAT(Read(dir_ / "layout"), expected);
}

TEST_F(ArchiveFileTest, APipeIsReadToItsEnd) {
  auto pipe = MakePipe();
  ASSERT_TRUE(pipe.ok());
  const std::string tar = MakeTar({{.path = "a", .content = "b"}});
  ASSERT_TRUE(WriteAll(pipe->write.get(), tar).ok());
  pipe->write.Reset();
  const int saved = dup(STDIN_FILENO);
  dup2(pipe->read.get(), STDIN_FILENO);
  EXPECT_THAT(Read("-"), UnorderedElementsAre("a=b"));
  dup2(saved, STDIN_FILENO);
  close(saved);
}

TEST_F(ArchiveFileTest, LinksStayWithinTheArchive) {
  EXPECT_THAT(
      ReadTar(MakeTar(
          {{.path = "a/layer.tar", .content = "A"},
           {.path = "b/layer.tar", .content = "../a/layer.tar", .type = EntryType::kSymlink},
           {.path = "c", .content = "b/layer.tar", .type = EntryType::kSymlink},
           {.path = "loop", .content = "loop", .type = EntryType::kSymlink},
           {.path = "none", .content = "nowhere", .type = EntryType::kSymlink}})),
      UnorderedElementsAre("a/layer.tar=A", "b/layer.tar=A", "c=A"));
  for (const char* target : {"/etc/passwd", "../../etc/passwd", "a/../../../x"}) {
    EXPECT_THAT(
        ReadTar(MakeTar({{.path = "b/l", .content = target, .type = EntryType::kSymlink}}))[0],
        HasSubstr("leads out of the archive"))
        << target;
  }
}

TEST_F(ArchiveFileTest, AGnuArchiveIsReadToo) {
  const std::string name(300, 'g');
  const std::string tar =
      StrCat(Header("././@LongLink", 'L', "00000000455"), Padded(name + '\0'),
             Header("short", '0', std::string("\x80\0\0\0\0\0\0\0\0\0\0\3", 12)), Padded("abc"),
             std::string(1024, '\0'), "rubbish");
  EXPECT_THAT(ReadTar(tar), UnorderedElementsAre(name + "=abc"));
}

TEST_F(ArchiveFileTest, WhatIsWrongIsRefusedByName) {
  struct Case {
    std::string tar;
    const char* message;
  };
  const std::string pax_size = "25 size=9999999999999999\n";
  const std::vector<Case> cases = {
      {"", "it has no members"},
      {"no tar at all", "truncated"},
      {std::string(1024, 'x'), "checksum"},
      {Header("../up", '0', "0"), "not a path within the archive"},
      {Header("/etc/passwd", '0', "0"), "not a path within the archive"},
      {Header("a/../../b", '0', "0"), "not a path within the archive"},
      {Header("a", '0', "00000002000") + "short", "truncated: it needs 1024 bytes"},
      {Header("a", '0', "99"), "malformed size"},
      {Header("a", '0', "-1"), "malformed size"},
      {Header("a", '0', std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12)),
       "malformed size"},
      {Header("a", '0', std::string("\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12)),
       "malformed size"},
      {Header("a", '3', "0"), "is of the type"},
      {Header("a", 'S', "0"), "is of the type"},
      {Header("x", 'x', "00000000031") + Padded(pax_size) + Header("a", '0', "0"),
       "truncated: it needs"},
      {Header("x", 'x', "00000000005") + Padded("9 a=b"), "malformed pax"},
      {Header("x", 'x', "00000000005") + Padded("hello"), "malformed pax"},
      {Header("x", 'x', "00004000000") + std::string(1 << 20, ' '), "a header of"},
      {Header("x", 'x', "00000000030") + Padded("24 GNU.sparse.major=1.0\n"), "sparse"},
      {std::string("\x1f\x8b\x08 not gzip"), "gzip"},
  };
  for (const Case& bad : cases) {
    const auto found = ReadTar(bad.tar);
    ASSERT_EQ(found.size(), 1u) << bad.message;
    EXPECT_THAT(found[0], HasSubstr("error ")) << bad.message;
    EXPECT_THAT(found[0], HasSubstr(bad.message));
    EXPECT_THAT(found[0], HasSubstr("a.tar"));
  }
  EXPECT_THAT(Read(dir_ / "absent")[0], HasSubstr("error 5"));
}

// Whatever becomes of a header: an error, or an index whose members lie within the file.
TEST_F(ArchiveFileTest, DamagedArchivesDoNoHarm) {
  const std::string sound =
      MakeTar({{.path = "index.json", .content = "{}"},
               {.path = "blobs/" + std::string(150, 'n'), .content = std::string(3000, 'b')},
               {.path = "link", .content = "index.json", .type = EntryType::kSymlink}});
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same cases every time
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = sound;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    if (round % 3 == 0) damaged.resize(random() % damaged.size());
    // A right checksum lets the rest of the header through.
    for (size_t at = 0; round % 2 == 0 && at + 512 <= damaged.size(); at += 512) {
      unsigned sum = 0;
      damaged.replace(at + 148, 8, "        ");
      for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(damaged[at + i]);
      std::array<char, 16> text{};
      snprintf(text.data(), text.size(), "%06o", sum);
      damaged.replace(at + 148, 7, text.data(), 7);
    }
    auto file = Open(dir_ / "damaged", O_RDWR | O_CREAT | O_TRUNC, 0600);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteAll(file->get(), damaged).ok());
    auto index = IndexTar(file->get());
    if (!index.ok()) continue;
    for (const auto& [name, range] : *index) {
      EXPECT_LE(range.offset, damaged.size());
      EXPECT_LE(range.size, damaged.size() - range.offset);
      EXPECT_TRUE(IsPlainRelativePath(name)) << Printable(name);
    }
  }
}

}  // namespace
}  // namespace berth::image
