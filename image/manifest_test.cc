#include "image/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"

namespace berth::image {
namespace {

using ::testing::HasSubstr;

const char kOci[] = "application/vnd.oci.image.manifest.v1+json";
const char kOciIndex[] = "application/vnd.oci.image.index.v1+json";
const char kDocker[] = "application/vnd.docker.distribution.manifest.v2+json";
const char kDockerList[] = "application/vnd.docker.distribution.manifest.list.v2+json";

std::string DigestWith(char c) {
  return "sha256:" + std::string(64, c);
}

Json DescriptorJson(const std::string& type, char digit, int64_t size = 10) {
  return {{"mediaType", type}, {"digest", DigestWith(digit)}, {"size", size}};
}

Json ManifestJson() {
  return {{"schemaVersion", 2},
          {"mediaType", kOci},
          {"config", DescriptorJson("application/vnd.oci.image.config.v1+json", 'c')},
          {"layers",
           {DescriptorJson("application/vnd.oci.image.layer.v1.tar+gzip", '1'),
            DescriptorJson("application/vnd.oci.image.layer.v1.tar+zstd", '2')}}};
}

Json EntryJson(char digit, const std::string& os, const std::string& architecture,
               const std::string& variant = "") {
  Json entry = DescriptorJson(kOci, digit);
  entry["platform"] = {{"os", os}, {"architecture", architecture}};
  if (!variant.empty()) entry["platform"]["variant"] = variant;
  return entry;
}

Index IndexOf(std::vector<Json> entries) {
  Json json = {{"schemaVersion", 2}, {"mediaType", kOciIndex}, {"manifests", entries}};
  auto document = ParseManifest(json.dump(), kOciIndex);
  EXPECT_TRUE(document.ok()) << document.error().message();
  return std::get<Index>(*document);
}

TEST(ManifestTest, ReadsOciAndDocker) {
  for (const char* type : {kOci, kDocker}) {
    Json json = ManifestJson();
    json["mediaType"] = type;
    auto document = ParseManifest(json.dump(), type);
    ASSERT_TRUE(document.ok()) << document.error().message();
    const auto& manifest = std::get<Manifest>(*document);
    EXPECT_EQ(manifest.config.digest, DigestWith('c'));
    ASSERT_EQ(manifest.layers.size(), 2u);
    EXPECT_EQ(manifest.layers[0].digest, DigestWith('1'));
    EXPECT_EQ(manifest.layers[1].size, 10);
  }
}

TEST(ManifestTest, KeepsAnnotationsOfModestSize) {
  Json json = ManifestJson();
  json["annotations"] = {{"org.opencontainers.image.version", "1.2"}};
  auto document = ParseManifest(json.dump(), kOci);
  ASSERT_TRUE(document.ok()) << document.error().message();
  EXPECT_EQ(std::get<Manifest>(*document).annotations.at("org.opencontainers.image.version"),
            "1.2");
  json["annotations"]["large"] = std::string(kMaxAnnotationBytes, 'x');
  document = ParseManifest(json.dump(), kOci);
  ASSERT_TRUE(document.ok()) << document.error().message();
  EXPECT_TRUE(std::get<Manifest>(*document).annotations.empty());
  for (const Json& wrong : {Json("text"), Json{{"key", 1}}}) {
    json["annotations"] = wrong;
    EXPECT_EQ(ParseManifest(json.dump(), kOci).code(), Code::kDataLoss) << wrong;
  }
}

TEST(ManifestTest, TakesTheTypeFromWhoeverNamesIt) {
  Json json = ManifestJson();
  EXPECT_TRUE(ParseManifest(json.dump(), "").ok());
  EXPECT_TRUE(ParseManifest(json.dump(), "application/json; charset=utf-8").ok());
  json.erase("mediaType");
  EXPECT_TRUE(ParseManifest(json.dump(), kOci).ok());
  EXPECT_EQ(ParseManifest(json.dump(), "text/plain").code(), Code::kDataLoss);
}

TEST(ManifestTest, IgnoresForeignUrls) {
  Json json = ManifestJson();
  json["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  json["layers"][0]["urls"] = {"https://attacker.example/layer"};
  EXPECT_TRUE(ParseManifest(json.dump(), kOci).ok());
}

struct Bad {
  const char* what;
  std::string text;
  std::string content_type;
  Code code;
  std::string message;
};

std::vector<Bad> BadDocuments() {
  std::vector<Bad> table = {
      {"empty", "", kOci, Code::kDataLoss, "JSON"},
      {"garbage", "\x1f\x8b\x08garbage", kOci, Code::kDataLoss, "JSON"},
      {"html", "<html></html>", "text/html", Code::kDataLoss, "JSON"},
      {"array", "[]", kOci, Code::kDataLoss, "object"},
      {"deep", std::string(100'000, '['), kOci, Code::kDataLoss, ""},
      {"truncated", ManifestJson().dump().substr(0, 100), kOci, Code::kDataLoss, "JSON"},
      {"too large", std::string(kMaxDocumentBytes + 1, ' '), kOci, Code::kDataLoss, "larger"},
      {"schema 1 by type", "{}", "application/vnd.docker.distribution.manifest.v1+prettyjws",
       Code::kUnimplemented, "schema 1"},
      {"schema 1 by version", R"({"schemaVersion": 1, "fsLayers": []})", "application/json",
       Code::kUnimplemented, "schema 1"},
  };
  auto add = [&](const char* what, const std::string& pointer, const Json& value, Code code,
                 const std::string& message) {
    Json json = ManifestJson();
    json[Json::json_pointer(pointer)] = value;
    table.push_back({what, json.dump(), kOci, code, message});
  };
  add("both", "/manifests", Json::array(), Code::kDataLoss, "both");
  add("type mismatch", "/mediaType", kOciIndex, Code::kDataLoss, "served as");
  add("schema 3", "/schemaVersion", 3, Code::kDataLoss, "schemaVersion 3");
  add("no config", "/config", nullptr, Code::kDataLoss, "config");
  add("config is text", "/config", "x", Code::kDataLoss, "config");
  add("no layers", "/layers", nullptr, Code::kDataLoss, "layers");
  add("layer is a number", "/layers/1", 7, Code::kDataLoss, "layer 1");
  add("digest with a path", "/layers/0/digest", "sha256:../../etc/passwd", Code::kDataLoss,
      "layer 0");
  add("digest in upper case", "/layers/0/digest", "sha256:" + std::string(64, 'A'), Code::kDataLoss,
      "layer 0");
  add("config digest short", "/config/digest", "sha256:ab", Code::kDataLoss, "config");
  add("negative size", "/layers/0/size", -5, Code::kDataLoss, "size");
  add("size is text", "/layers/0/size", "10", Code::kDataLoss, "size");
  add("size beyond 64 bits", "/layers/0/size", 1e30, Code::kDataLoss, "size");
  add("huge config", "/config/size", int64_t{5} << 20, Code::kDataLoss, "config");
  add("helm chart", "/config/mediaType", "application/vnd.cncf.helm.config.v1+json",
      Code::kUnimplemented, "not a container image");
  add("unknown layer", "/layers/1/mediaType", "application/x-lz4", Code::kUnimplemented, "layer 1");
  add("encrypted layer", "/layers/1/mediaType",
      "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", Code::kUnimplemented, "layer 1");
  Json many = ManifestJson();
  for (size_t i = 0; i < kMaxLayers; ++i) many["layers"].push_back(many["layers"][0]);
  table.push_back({"many layers", many.dump(), kOci, Code::kDataLoss, "more than 500"});
  return table;
}

TEST(ManifestTest, RefusesWhatIsWrong) {
  for (const Bad& row : BadDocuments()) {
    auto document = ParseManifest(row.text, row.content_type);
    ASSERT_FALSE(document.ok()) << row.what;
    EXPECT_EQ(document.code(), row.code) << row.what << ": " << document.error().message();
    EXPECT_THAT(document.error().message(), HasSubstr(row.message)) << row.what;
  }
}

TEST(SelectPlatformTest, TakesTheHostsOwn) {
  Index index = IndexOf({EntryJson('1', "linux", "arm64", "v8"), EntryJson('2', "linux", "amd64"),
                         EntryJson('3', "windows", "amd64"), EntryJson('4', "unknown", "unknown")});
  EXPECT_EQ(SelectPlatform(index, {"linux", "amd64", "v3"})->digest, DigestWith('2'));
  EXPECT_EQ(SelectPlatform(index, {"linux", "arm64", "v8"})->digest, DigestWith('1'));
}

TEST(SelectPlatformTest, TakesTheHighestVariantThatRuns) {
  Index index =
      IndexOf({EntryJson('1', "linux", "amd64"), EntryJson('2', "linux", "amd64", "v2"),
               EntryJson('3', "linux", "amd64", "v3"), EntryJson('4', "linux", "amd64", "weird")});
  EXPECT_EQ(SelectPlatform(index, {"linux", "amd64", "v1"})->digest, DigestWith('1'));
  EXPECT_EQ(SelectPlatform(index, {"linux", "amd64", "v2"})->digest, DigestWith('2'));
  EXPECT_EQ(SelectPlatform(index, {"linux", "amd64", "v4"})->digest, DigestWith('3'));
}

TEST(SelectPlatformTest, SaysWhatThereIs) {
  Index index =
      IndexOf({EntryJson('1', "linux", "s390x"), EntryJson('2', "linux", "arm", "v7\n\x1b[31m")});
  auto none = SelectPlatform(index, {"linux", "amd64", "v1"});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.code(), Code::kNotFound);
  EXPECT_THAT(none.error().message(), HasSubstr("linux/s390x, linux/arm/v7\\x0a"));
  EXPECT_EQ(SelectPlatform(IndexOf({}), HostPlatform()).code(), Code::kNotFound);
}

TEST(SelectPlatformTest, AMissingPlatformIsNoChoiceUnlessItIsAlone) {
  Json nameless = DescriptorJson(kOci, '1');
  EXPECT_EQ(SelectPlatform(IndexOf({nameless}), HostPlatform())->digest, DigestWith('1'));
  EXPECT_EQ(SelectPlatform(IndexOf({nameless, nameless}), HostPlatform()).code(), Code::kNotFound);
}

TEST(SelectPlatformTest, DockerListsWorkAlike) {
  Json entry = EntryJson('1', "linux", "amd64");
  entry["mediaType"] = kDocker;
  Json json = {{"schemaVersion", 2}, {"mediaType", kDockerList}, {"manifests", {entry}}};
  auto document = ParseManifest(json.dump(), kDockerList);
  ASSERT_TRUE(document.ok()) << document.error().message();
  EXPECT_EQ(SelectPlatform(std::get<Index>(*document), {"linux", "amd64", ""})->digest,
            DigestWith('1'));
}

TEST(LayerCompressionTest, KnowsTheTypes) {
  EXPECT_EQ(*LayerCompression("application/vnd.oci.image.layer.v1.tar"), Compression::kNone);
  EXPECT_EQ(*LayerCompression("application/vnd.oci.image.layer.v1.tar+zstd"), Compression::kZstd);
  EXPECT_EQ(*LayerCompression("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            Compression::kGzip);
  // No library is here that would unpack those, and the kernel mounts no image's file system.
  for (const char* type : {"", "application/vnd.oci.image.layer.v1.tar+xz",
                           "application/vnd.oci.image.layer.v1.tar+bzip2",
                           "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                           "application/vnd.erofs.layer.v1", "application/vnd.squashfs"}) {
    EXPECT_EQ(LayerCompression(type).code(), Code::kUnimplemented) << type;
  }
}

}  // namespace
}  // namespace berth::image
