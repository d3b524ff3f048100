#include "image/archive_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/digest.h"
#include "image/manifest.h"
#include "tests/testing/image_builder.h"

namespace berth::image {
namespace {

using testing::BuildImage;
using testing::BuiltImage;
using testing::DockerArchive;
using ::testing::ElementsAre;
using testing::EntryType;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MakeTar;
using testing::OciLayout;
using testing::TestImage;

// Members in memory; those without content say a size only.
class MemoryArchive : public ArchiveSource {
 public:
  explicit MemoryArchive(const std::vector<testing::TarEntry>& entries) {
    for (const auto& entry : entries) {
      if (entry.type == EntryType::kFile) Set(entry.path, entry.content);
    }
  }
  void Set(const std::string& name, const std::string& content) {
    for (size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].name != name) continue;
      members_[i].size_bytes = content.size();
      contents_[i] = content;
      return;
    }
    members_.push_back({name, content.size()});
    contents_.push_back(content);
  }
  void SetSize(const std::string& name, uint64_t size) {
    Set(name, "");
    for (ArchiveMember& member : members_) {
      if (member.name == name) member.size_bytes = size;
    }
  }
  const std::vector<ArchiveMember>& members() const override { return members_; }
  Result<std::string> Read(const Context&, size_t member, uint64_t offset, size_t size) override {
    return contents_[member].substr(offset, size);
  }

 private:
  std::vector<ArchiveMember> members_;
  std::vector<std::string> contents_;
};

BuiltImage Image(const std::string& content, Compression compression = Compression::kGzip) {
  TestImage image;
  image.layers = {{MakeTar({{.path = "f", .content = content}}), compression}};
  return BuildImage(image);
}

std::string ErrorOf(MemoryArchive& archive, Code code, const std::string& base = "") {
  auto content = ReadArchive(Context::Background(), archive, base);
  if (content.ok()) return "ok";
  EXPECT_EQ(static_cast<int>(content.code()), static_cast<int>(code)) << content.error().message();
  return content.error().message();
}

TEST(ArchiveLayout, AnOciLayoutOfSeveralImages) {
  const BuiltImage one = Image("1");
  const BuiltImage two = Image("2");
  const BuiltImage three = Image("3");
  MemoryArchive archive(
      OciLayout({{&one, {"registry.example/one:v1"}}, {&two, {"v2"}}, {&three, {}}}));
  auto content = ReadArchive(Context::Background(), archive, "base.example/app");
  ASSERT_TRUE(content.ok()) << content.error().message();
  ASSERT_EQ(content->images.size(), 3u);
  EXPECT_EQ(content->images[0].image.id, one.config.digest);
  EXPECT_THAT(content->images[0].image.repo_tags, ElementsAre("registry.example/one:v1"));
  EXPECT_THAT(content->images[0].image.repo_digests,
              ElementsAre(StrCat("registry.example/one@", one.digest)));
  EXPECT_THAT(content->images[1].image.repo_tags, ElementsAre("base.example/app:v2"));
  EXPECT_THAT(content->images[2].image.repo_tags, IsEmpty());
  ASSERT_EQ(content->images[0].layers.size(), 1u);
  EXPECT_EQ(content->images[0].layers[0].blob.digest, one.layers[0].digest);
  EXPECT_EQ(archive.members()[content->layer_members.at(one.diff_ids[0])].name,
            StrCat("blobs/sha256/", one.layers[0].digest.substr(7)));
  // Without a base, a tag alone is no name.
  content = ReadArchive(Context::Background(), archive, "");
  ASSERT_TRUE(content.ok());
  EXPECT_THAT(content->images[1].image.repo_tags, IsEmpty());
}

TEST(ArchiveLayout, ADockerArchive) {
  for (Compression compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    const BuiltImage one = Image("1", compression);
    MemoryArchive archive(DockerArchive({{&one, {"one", "example.com/two:3"}}}));
    auto content = ReadArchive(Context::Background(), archive, "");
    ASSERT_TRUE(content.ok()) << content.error().message();
    ASSERT_EQ(content->images.size(), 1u);
    EXPECT_EQ(content->images[0].image.id, one.config.digest);
    EXPECT_THAT(content->images[0].image.repo_tags,
                ElementsAre("docker.io/library/one:latest", "example.com/two:3"));
    const auto& layer = content->images[0].layers[0];
    EXPECT_EQ(layer.diff_id, one.diff_ids[0]);
    auto found = LayerCompression(layer.blob.media_type);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(*found, compression);
  }
}

TEST(ArchiveLayout, DockersNamesAreAddedToALayouts) {
  const BuiltImage one = Image("1");
  MemoryArchive archive(OciLayout({{&one, {"example.com/one:v1"}}}));
  archive.Set("manifest.json",
              Json::array({{{"Config", "blobs/sha256/" + one.config.digest.substr(7)},
                            {"RepoTags", {"example.com/one:v1", "example.com/other:v2"}},
                            {"Layers", Json::array()}}})
                  .dump());
  auto content = ReadArchive(Context::Background(), archive, "");
  ASSERT_TRUE(content.ok()) << content.error().message();
  ASSERT_EQ(content->images.size(), 1u);
  EXPECT_THAT(content->images[0].image.repo_tags,
              ElementsAre("example.com/one:v1", "example.com/other:v2"));
}

TEST(ArchiveLayout, TheImageForThisMachineIsTaken) {
  const BuiltImage mine = Image("1");
  TestImage foreign_source;
  foreign_source.architecture = "s390x";
  const BuiltImage foreign = BuildImage(foreign_source);
  MemoryArchive archive(OciLayout({{&foreign, {"a.example/x:1"}}, {&mine, {"a.example/x:1"}}}));
  auto content = ReadArchive(Context::Background(), archive, "");
  ASSERT_TRUE(content.ok()) << content.error().message();
  ASSERT_EQ(content->images.size(), 1u);
  EXPECT_EQ(content->images[0].image.id, mine.config.digest);
  MemoryArchive none(OciLayout({{&foreign, {"a.example/x:1"}}}));
  EXPECT_THAT(ErrorOf(none, Code::kNotFound), HasSubstr("s390x"));
}

TEST(ArchiveLayout, WhatIsWrongIsRefused) {
  const BuiltImage one = Image("1");
  const auto layout = OciLayout({{&one, {"a.example/x:1"}}});
  const std::string layer = StrCat("blobs/sha256/", one.layers[0].digest.substr(7));
  const std::string config = StrCat("blobs/sha256/", one.config.digest.substr(7));
  {
    MemoryArchive archive({});
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss),
                HasSubstr("neither index.json nor manifest.json"));
    archive.Set("repositories", "{}");
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("before 1.10"));
  }
  {
    MemoryArchive archive(layout);
    archive.SetSize("index.json", uint64_t{8} << 30);
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("index.json has 8589934592 bytes"));
  }
  {
    MemoryArchive archive(layout);
    archive.Set(config, one.config.bytes.substr(1) + " ");
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("has the digest"));
    archive.Set(config, one.config.bytes + " ");
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("bytes, not"));
  }
  {
    MemoryArchive archive(layout);
    archive.Set(layer, "short");
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("has 5 bytes, not"));
  }
  {
    auto without = layout;
    std::erase_if(without, [&](const auto& entry) { return entry.path == layer; });
    MemoryArchive archive(without);
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("is missing"));
  }
  for (const char* text :
       {"", "[]", "{", R"({"manifests":{}})", R"({"manifests":[{"digest":"x"}]})",
        R"({"manifests":[{"digest":"sha256:../../etc","size":1}]})"}) {
    MemoryArchive archive(layout);
    archive.Set("index.json", text);
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("index.json")) << text;
  }
  for (const char* text : {"{}", R"([{"Config":7}])", R"([{"Config":"../../etc/passwd"}])",
                           R"([{"Config":"c","Layers":"x"}])", "[[]]"}) {
    MemoryArchive archive({});
    archive.Set("manifest.json", text);
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("manifest.json")) << text;
  }
  {
    MemoryArchive archive(layout);
    EXPECT_THAT(ErrorOf(archive, Code::kInvalidArgument, "Bad//Name"), HasSubstr("base name"));
  }
  {
    MemoryArchive archive(OciLayout({{&one, {"a.example/UPPER:1"}}}));
    EXPECT_THAT(ErrorOf(archive, Code::kDataLoss), HasSubstr("annotations"));
  }
}

}  // namespace
}  // namespace berth::image
