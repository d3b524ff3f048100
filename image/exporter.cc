#include "image/exporter.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "image/archive/tar_writer.h"
#include "image/digest.h"
#include "image/gzip_sink.h"
#include "image/layer_unpacker.h"
#include "image/manifest.h"
#include "image/reference.h"

namespace berth::image {

namespace {

constexpr char kConfigType[] = "application/vnd.oci.image.config.v1+json";
constexpr char kTarType[] = "application/vnd.oci.image.layer.v1.tar";
constexpr size_t kPieceBytes = 256 << 10;
constexpr char kZstdType[] = "application/vnd.oci.image.layer.v1.tar+zstd";
constexpr char kGzipType[] = "application/vnd.oci.image.layer.v1.tar+gzip";

const char* TypeOf(const std::string& compression) {
  if (compression == NameOf(Compression::kGzip)) return kGzipType;
  return compression == NameOf(Compression::kZstd) ? kZstdType : kTarType;
}

Status CopyBlob(const Context& context, int file, const TarSink& sink) {
  std::string piece(kPieceBytes, '\0');
  while (true) {
    RETURN_IF_ERROR(context.Check("read"));
    ASSIGN_OR_RETURN(const size_t n, ReadSome(file, piece.data(), piece.size()));
    if (n == 0) return Ok();
    RETURN_IF_ERROR(sink({piece.data(), n}));
  }
}

Json DescriptorOf(const char* type, const std::string& digest, uint64_t size) {
  return {{"mediaType", type}, {"digest", digest}, {"size", size}};
}

std::string BlobPath(const std::string& digest) {
  return StrCat("blobs/sha256/", digest.substr(digest.find(':') + 1));
}

// The configuration with other diffIDs, and everything else as it was.
Result<std::string> WithDiffIds(const std::string& config,
                                const std::vector<OutgoingLayer>& layers) {
  ASSIGN_OR_RETURN(Json json, ParseJson(config));
  Json ids = Json::array();
  for (const OutgoingLayer& layer : layers) ids.push_back(layer.diff_id);
  json["rootfs"]["diff_ids"] = std::move(ids);
  return ToText(json);
}

// An image and the tags under which it goes.
struct Item {
  OutgoingImage image;
  std::vector<std::string> tags;
};

class ArchiveWriter {
 public:
  explicit ArchiveWriter(const TarSink& sink) : sink_(sink) {}

  Status AddFile(const std::string& name, std::string_view content) {
    RETURN_IF_ERROR(Begin(name, content.size()));
    RETURN_IF_ERROR(sink_(content));
    return sink_(TarPadding(content.size()));
  }
  Status AddDirectory(const std::string& name) {
    TarHeader header;
    header.name = name;
    header.type = '5';
    header.mode = 0755;
    return sink_(EncodeTarHeader(header));
  }
  Status Begin(const std::string& name, uint64_t size) {
    TarHeader header;
    header.name = name;
    header.size = size;
    return sink_(EncodeTarHeader(header));
  }

 private:
  const TarSink& sink_;
};

Json IndexOf(const std::vector<Item>& items) {
  Json manifests = Json::array();
  for (const Item& item : items) {
    Json descriptor = DescriptorOf("application/vnd.oci.image.manifest.v1+json",
                                   item.image.manifest_digest, item.image.manifest.size());
    if (item.tags.empty()) manifests.push_back(descriptor);
    for (const std::string& tag : item.tags) {
      // What containerd and Docker read, and what the specification has.
      descriptor["annotations"] = {
          {"io.containerd.image.name", tag},
          {"org.opencontainers.image.ref.name", tag.substr(tag.rfind(':') + 1)}};
      manifests.push_back(descriptor);
    }
  }
  return {
      {"schemaVersion", 2}, {"mediaType", std::string(kOciIndexType)}, {"manifests", manifests}};
}

Json DockerManifestOf(const std::vector<Item>& items) {
  Json out = Json::array();
  for (const Item& item : items) {
    Json layers = Json::array();
    for (const OutgoingLayer& layer : item.image.layers) layers.push_back(BlobPath(layer.digest));
    out.push_back({{"Config", BlobPath(item.image.config_digest)},
                   {"RepoTags", item.tags},
                   {"Layers", layers}});
  }
  return out;
}

}  // namespace

std::string OutgoingImage::Warning() const {
  if (!Changed()) return "";
  return StrCat(
      "the layers' tars were made anew and are others than the image was built of, so that its id "
      "is now ",
      config_digest);
}

Status Exporter::WriteLayer(const Context& context, const OutgoingLayer& layer, BlobFormat format,
                            const TarSink& sink) {
  ASSIGN_OR_RETURN(const auto directory, snapshotter_.OpenLayer(layer.stored_diff_id));
  Sha256 hash;
  auto hashed = [&](std::string_view bytes) {
    hash.Update(bytes);
    return sink(bytes);
  };
  if (layer.kept) {
    ASSIGN_OR_RETURN(const auto blob, snapshotter_.OpenBlob(layer.stored_diff_id));
    RETURN_IF_ERROR(CopyBlob(context, blob.file.get(), hashed), "blob ", layer.digest);
  } else if (format == BlobFormat::kTar) {
    RETURN_IF_ERROR(WriteLayerTar(context, directory, hashed));
  } else {
    GzipSink gzip(hashed);
    RETURN_IF_ERROR(WriteLayerTar(context, directory,
                                  [&](std::string_view bytes) { return gzip.Write(bytes); }));
    RETURN_IF_ERROR(gzip.Finish());
  }
  if (hash.Finish() == layer.digest) return Ok();
  return Error(Code::kDataLoss, StrCat("layer ", layer.stored_diff_id, " is not what it was"));
}

Result<OutgoingImage> Exporter::Prepare(const Context& context, std::shared_ptr<const Image> image,
                                        BlobFormat format) {
  OutgoingImage out;
  out.image = std::move(image);
  Json layers = Json::array();
  for (const std::string& diff_id : out.image->config.diff_ids) {
    ASSIGN_OR_RETURN(const auto directory, snapshotter_.OpenLayer(diff_id));
    OutgoingLayer layer;
    layer.stored_diff_id = diff_id;
    if (const auto blob = snapshotter_.OpenBlob(diff_id); blob.ok()) {
      layer.diff_id = diff_id;
      layer.digest = blob->digest;
      layer.size_bytes = blob->size_bytes;
      layer.kept = true;
      layers.push_back(DescriptorOf(TypeOf(blob->compression), layer.digest, layer.size_bytes));
      out.layers.push_back(std::move(layer));
      continue;
    }
    Sha256 tar_hash;
    Sha256 blob_hash;
    auto count = [&](std::string_view bytes) {
      blob_hash.Update(bytes);
      layer.size_bytes += bytes.size();
      return Ok();
    };
    GzipSink gzip(count);
    RETURN_IF_ERROR(WriteLayerTar(context, directory,
                                  [&](std::string_view bytes) {
                                    tar_hash.Update(bytes);
                                    return format == BlobFormat::kTar ? count(bytes)
                                                                      : gzip.Write(bytes);
                                  }),
                    "layer ", diff_id);
    if (format == BlobFormat::kGzip) RETURN_IF_ERROR(gzip.Finish());
    layer.diff_id = tar_hash.Finish();
    layer.digest = blob_hash.Finish();
    layers.push_back(DescriptorOf(format == BlobFormat::kTar ? kTarType : kGzipType, layer.digest,
                                  layer.size_bytes));
    out.layers.push_back(std::move(layer));
  }
  const bool same = std::all_of(out.layers.begin(), out.layers.end(), [](const auto& layer) {
    return layer.diff_id == layer.stored_diff_id;
  });
  out.config = out.image->config_json;
  if (!same) {
    ASSIGN_OR_RETURN(out.config, WithDiffIds(out.config, out.layers), "image configuration");
  }
  out.config_digest = DigestOf(out.config);
  Json manifest = {{"schemaVersion", 2},
                   {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                   {"config", DescriptorOf(kConfigType, out.config_digest, out.config.size())},
                   {"layers", layers}};
  if (!out.image->annotations.empty()) manifest["annotations"] = out.image->annotations;
  out.manifest = ToText(manifest);
  out.manifest_digest = DigestOf(out.manifest);
  return out;
}

Result<Exporter::Report> Exporter::Export(const Context& context,
                                          const std::vector<std::string>& references,
                                          const TarSink& sink) {
  const LayerHold hold(store_);
  Report report;
  std::vector<Item> items;
  for (const std::string& text : references) {
    auto image = store_.Find(text);
    if (image == nullptr) {
      return Error(Code::kNotFound, StrCat("there is no image \"", Printable(text), "\""));
    }
    std::vector<std::string> tags = image->repo_tags;
    const auto reference = ParseReference(text);
    const std::string name = reference.ok() ? reference->ToString() : "";
    if (std::find(tags.begin(), tags.end(), name) != tags.end()) tags = {name};
    ASSIGN_OR_RETURN(auto outgoing, Prepare(context, image, BlobFormat::kTar), "export ",
                     Printable(text));
    if (outgoing.Changed()) {
      report.warnings.push_back(StrCat(Printable(text), ": ", outgoing.Warning()));
    }
    items.push_back({std::move(outgoing), std::move(tags)});
  }

  ArchiveWriter archive(sink);
  RETURN_IF_ERROR(archive.AddFile("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  RETURN_IF_ERROR(archive.AddFile("index.json", ToText(IndexOf(items))));
  RETURN_IF_ERROR(archive.AddFile("manifest.json", ToText(DockerManifestOf(items))));
  RETURN_IF_ERROR(archive.AddDirectory("blobs/"));
  RETURN_IF_ERROR(archive.AddDirectory("blobs/sha256/"));
  std::set<std::string> written;
  for (const Item& item : items) {
    const OutgoingImage& image = item.image;
    if (written.insert(image.manifest_digest).second) {
      RETURN_IF_ERROR(archive.AddFile(BlobPath(image.manifest_digest), image.manifest));
    }
    if (written.insert(image.config_digest).second) {
      RETURN_IF_ERROR(archive.AddFile(BlobPath(image.config_digest), image.config));
    }
    for (const OutgoingLayer& layer : image.layers) {
      if (!written.insert(layer.digest).second) continue;
      RETURN_IF_ERROR(archive.Begin(BlobPath(layer.digest), layer.size_bytes));
      RETURN_IF_ERROR(WriteLayer(context, layer, BlobFormat::kTar, sink));
      RETURN_IF_ERROR(sink(TarPadding(layer.size_bytes)));
    }
  }
  RETURN_IF_ERROR(sink(TarEnd()));
  return report;
}

}  // namespace berth::image
