// Layers made anew, and archives of them, imported again.
#include "image/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "image/archive/archive_file.h"
#include "image/digest.h"
#include "image/importer.h"
#include "image/unpack/inflate.h"
#include "snapshotter/overlay.h"
#include "tests/testing/puller_fixture.h"

namespace berth::image {
namespace {

using berth::testing::BuildImage;
using berth::testing::BuiltImage;
using berth::testing::EntryType;
using berth::testing::MakeTar;
using berth::testing::OciLayout;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExporterTest : public berth::testing::PullerFixture {
 protected:
  ExporterTest() : PullerFixture(&snapshotter::OpenOverlay) {}

  std::shared_ptr<const Image> Import(std::string_view archive) {
    const std::string path = dir_ / "archive.tar";
    EXPECT_TRUE(AtomicWriteFileAt(AT_FDCWD, path, archive, 0600).ok());
    auto source = OpenArchive(path);
    auto importer = Importer::Create(*unpacker_, *snapshotter_, *store_, 2);
    auto context = Context::Cancellable();
    EXPECT_TRUE(source.ok() && importer.ok() && context.ok());
    auto images = (*importer)->Import(*context, **source, {"archive.tar", "", 7, {}});
    EXPECT_TRUE(images.ok()) << images.error().message();
    return images.ok() && !images->empty() ? images->front() : nullptr;
  }
  Exporter MakeExporter() { return Exporter(*snapshotter_, *store_); }
  std::string LayerBytes(const OutgoingLayer& layer, BlobFormat format) {
    std::string out;
    Status written = MakeExporter().WriteLayer(Context::Background(), layer, format,
                                               [&](std::string_view bytes) {
                                                 out.append(bytes);
                                                 return Ok();
                                               });
    EXPECT_TRUE(written.ok()) << written.error().message();
    return out;
  }
  std::string ExportAll(const std::string& reference) {
    std::string out;
    auto report =
        MakeExporter().Export(Context::Background(), {reference}, [&](std::string_view bytes) {
          out.append(bytes);
          return Ok();
        });
    EXPECT_TRUE(report.ok()) << report.error().message();
    return out;
  }
};

const std::string kLongName = "d/" + std::string(120, 'n');

BuiltImage Everything() {
  testing::TestImage image;
  image.layers.push_back({MakeTar({{.path = "old", .content = "old"}})});
  image.layers.push_back({MakeTar(
      {{.path = "./", .type = EntryType::kDirectory, .mode = 0711},
       {.path = "d", .type = EntryType::kDirectory, .mode = 01777, .uid = 1, .gid = 2, .mtime = 77},
       {.path = "d/.wh..wh..opq"},
       {.path = ".wh.old"},
       {.path = kLongName, .content = std::string(300'000, 'x'), .mode = 04755},
       {.path = "d/hard", .content = kLongName, .type = EntryType::kHardLink},
       {.path = "d/link", .content = std::string(200, 't'), .type = EntryType::kSymlink},
       {.path = "d/null", .type = EntryType::kCharDevice, .device = makedev(1, 3)},
       {.path = "d/fifo", .type = EntryType::kFifo},
       {.path = "d/big",
        .content = "u",
        .uid = 2'000'000'000,
        .xattrs = {{"user.x", std::string("v\0w", 3)}}},
       {.path = "d/empty"}})});
  image.config = {{"Cmd", {"sh"}}, {"Labels", {{"kept", "yes"}}}};
  return BuildImage(image);
}

TEST_F(ExporterTest, ALayerMadeAnewHasAllThatItHad) {
  const BuiltImage built = Everything();
  auto image = Import(MakeTar(OciLayout({{&built, {"a.example/x:1"}}})));
  ASSERT_NE(image, nullptr);
  EXPECT_EQ(image->id, built.config.digest);
  EXPECT_EQ(image->pulled_at_ns, 7);
  auto outgoing = MakeExporter().Prepare(Context::Background(), image, BlobFormat::kTar);
  ASSERT_TRUE(outgoing.ok()) << outgoing.error().message();
  EXPECT_TRUE(outgoing->Changed());
  EXPECT_THAT(outgoing->config, HasSubstr(R"("kept":"yes")"));
  const std::string tar = LayerBytes(outgoing->layers[1], BlobFormat::kTar);
  EXPECT_EQ(tar.size(), outgoing->layers[1].size_bytes);
  EXPECT_EQ(DigestOf(tar), outgoing->layers[1].diff_id);
  for (const std::string& part : {std::string("d/.wh..wh..opq"), std::string(".wh.old"), kLongName,
                                  std::string("SCHILY.xattr.user.x=v\0w\n", 24),
                                  std::string("uid=2000000000\n"), std::string("linkpath=ttt")}) {
    EXPECT_THAT(tar, HasSubstr(part));
  }

  // Unpacked and made once more, it is the same: nothing was lost.
  const std::string archive = ExportAll("a.example/x:1");
  ASSERT_TRUE(store_->Remove(image->id).ok());
  auto again = Import(archive);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->id, outgoing->config_digest);
  EXPECT_THAT(again->repo_tags, ElementsAre("a.example/x:1"));
  EXPECT_THAT(again->config.diff_ids,
              ElementsAre(outgoing->layers[0].diff_id, outgoing->layers[1].diff_id));
  auto second = MakeExporter().Prepare(Context::Background(), again, BlobFormat::kTar);
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second->Changed());
  EXPECT_EQ(second->manifest_digest, outgoing->manifest_digest);
  EXPECT_EQ(ExportAll("a.example/x:1"), archive);
}

TEST_F(ExporterTest, AGzipBlobIsTheTarCompressed) {
  const BuiltImage built = Everything();
  auto image = Import(MakeTar(OciLayout({{&built, {"a.example/x:1"}}})));
  ASSERT_NE(image, nullptr);
  auto outgoing = MakeExporter().Prepare(Context::Background(), image, BlobFormat::kGzip);
  ASSERT_TRUE(outgoing.ok());
  const OutgoingLayer& layer = outgoing->layers[1];
  const std::string blob = LayerBytes(layer, BlobFormat::kGzip);
  EXPECT_EQ(blob.size(), layer.size_bytes);
  EXPECT_EQ(DigestOf(blob), layer.digest);
  EXPECT_LT(blob.size(), 100'000u);
  auto inflater = MakeInflater(Compression::kGzip);
  std::string_view rest = blob;
  std::string tar;
  std::string buffer(1 << 20, '\0');
  while (true) {
    auto n = inflater->Inflate(rest, buffer.data(), buffer.size());
    ASSERT_TRUE(n.ok()) << n.error().message();
    if (*n == 0) break;
    tar.append(buffer, 0, *n);
  }
  EXPECT_TRUE(inflater->Finish().ok());
  EXPECT_EQ(DigestOf(tar), layer.diff_id);
}

TEST_F(ExporterTest, BlobsThatWereKeptAreSentAsTheyCame) {
  unpacker_ = std::make_unique<LayerUnpacker>(WorkerPath(), *snapshotter_, PullCgroup(), true);
  testing::TestImage source;
  for (const Compression compression :
       {Compression::kGzip, Compression::kZstd, Compression::kNone}) {
    source.layers.push_back(
        {MakeTar({{.path = NameOf(compression), .content = "x"}}), compression});
  }
  const BuiltImage built = BuildImage(source);
  auto image = Import(MakeTar(OciLayout({{&built, {"a.example/x:1"}}})));
  ASSERT_NE(image, nullptr);
  for (int opened = 0; opened < 2; ++opened) {
    for (const BlobFormat format : {BlobFormat::kTar, BlobFormat::kGzip}) {
      auto outgoing = MakeExporter().Prepare(Context::Background(), image, format);
      ASSERT_TRUE(outgoing.ok()) << outgoing.error().message();
      EXPECT_FALSE(outgoing->Changed());
      EXPECT_EQ(outgoing->Warning(), "");
      ASSERT_EQ(outgoing->layers.size(), 3u);
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(outgoing->layers[i].digest, built.layers[i].digest);
        EXPECT_EQ(LayerBytes(outgoing->layers[i], format), built.layers[i].bytes);
      }
      EXPECT_THAT(outgoing->manifest, HasSubstr("layer.v1.tar+zstd"));
    }
    Open({});  // the next daemon, which keeps none, has those still
    image = store_->Find("a.example/x:1");
    ASSERT_NE(image, nullptr);
  }
  // They go with their layers.
  ASSERT_TRUE(store_->Remove(image->id).ok());
  EXPECT_THAT(Layers(), ::testing::IsEmpty());
  Import(MakeTar(OciLayout({{&built, {"a.example/x:1"}}})));
  EXPECT_EQ(snapshotter_->OpenBlob(image->config.diff_ids[0]).code(), Code::kNotFound);
}

TEST_F(ExporterTest, OnlyWhatIsThereIsExported) {
  auto report = MakeExporter().Export(Context::Background(), {"no.example/such:1"},
                                      [](std::string_view) { return Ok(); });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.code(), Code::kNotFound);
  EXPECT_THAT(report.error().message(), HasSubstr("no.example/such:1"));
}

}  // namespace
}  // namespace berth::image
