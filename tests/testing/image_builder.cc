#include "tests/testing/image_builder.h"

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <memory>

#include "image/digest.h"
#include "image/manifest.h"

namespace berth::testing {

namespace {

struct MediaTypes {
  const char* manifest;
  const char* config;
  const char* plain;
  const char* gzip;
  const char* zstd;
};
constexpr MediaTypes kOciTypes = {
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd"};
constexpr MediaTypes kDockerTypes = {"application/vnd.docker.distribution.manifest.v2+json",
                                     "application/vnd.docker.container.image.v1+json",
                                     "application/vnd.docker.image.rootfs.diff.tar",
                                     "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                     "application/vnd.docker.image.rootfs.diff.tar.zstd"};

unsigned FileTypeOf(EntryType type) {
  switch (type) {
    case EntryType::kDirectory:
      return AE_IFDIR;
    case EntryType::kSymlink:
      return AE_IFLNK;
    case EntryType::kCharDevice:
      return AE_IFCHR;
    case EntryType::kBlockDevice:
      return AE_IFBLK;
    case EntryType::kFifo:
      return AE_IFIFO;
    case EntryType::kFile:
    case EntryType::kHardLink:
      break;
  }
  return AE_IFREG;
}

la_ssize_t AppendTo(archive*, void* out, const void* bytes, size_t size) {
  static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

void WriteEntry(archive* tar, const TarEntry& entry) {
  std::unique_ptr<archive_entry, decltype(&archive_entry_free)> out(archive_entry_new(),
                                                                    archive_entry_free);
  archive_entry_set_pathname(out.get(), entry.path.c_str());
  archive_entry_set_filetype(out.get(), FileTypeOf(entry.type));
  archive_entry_set_perm(out.get(), entry.mode);
  archive_entry_set_uid(out.get(), entry.uid);
  archive_entry_set_gid(out.get(), entry.gid);
  archive_entry_set_mtime(out.get(), entry.mtime, 0);
  archive_entry_set_rdev(out.get(), entry.device);
  for (const auto& [name, value] : entry.xattrs) {
    archive_entry_xattr_add_entry(out.get(), name.c_str(), value.data(), value.size());
  }
  if (entry.type == EntryType::kSymlink)
    archive_entry_set_symlink(out.get(), entry.content.c_str());
  if (entry.type == EntryType::kHardLink) {
    archive_entry_set_hardlink(out.get(), entry.content.c_str());
  }
  const bool has_data = entry.type == EntryType::kFile;
  archive_entry_set_size(out.get(), has_data ? static_cast<int64_t>(entry.content.size()) : 0);
  if (archive_write_header(tar, out.get()) < ARCHIVE_WARN) abort();
  if (has_data) archive_write_data(tar, entry.content.data(), entry.content.size());
}

std::string Gzip(std::string_view bytes) {
  z_stream stream{};
  constexpr int kGzipHeader = 16;
  if (deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + kGzipHeader, 8, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    abort();
  }
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) abort();
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  size_t n = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
  if (ZSTD_isError(n)) abort();
  out.resize(n);
  return out;
}

const char* LayerType(const MediaTypes& types, image::Compression compression) {
  switch (compression) {
    case image::Compression::kNone:
      return types.plain;
    case image::Compression::kGzip:
      return types.gzip;
    case image::Compression::kZstd:
      return types.zstd;
  }
  abort();
}

Json DescriptorOf(const char* type, const Blob& blob) {
  return {{"mediaType", type}, {"digest", blob.digest}, {"size", blob.bytes.size()}};
}

}  // namespace

std::string MakeTar(const std::vector<TarEntry>& entries) {
  std::string out;
  std::unique_ptr<archive, decltype(&archive_write_free)> tar(archive_write_new(),
                                                              archive_write_free);
  archive_write_set_format_pax_restricted(tar.get());
  archive_write_set_bytes_in_last_block(tar.get(), 1);
  if (archive_write_open(tar.get(), &out, nullptr, AppendTo, nullptr) != ARCHIVE_OK) abort();
  for (const TarEntry& entry : entries) WriteEntry(tar.get(), entry);
  if (archive_write_close(tar.get()) != ARCHIVE_OK) abort();
  return out;
}

std::string Compress(std::string_view bytes, image::Compression compression) {
  switch (compression) {
    case image::Compression::kNone:
      return std::string(bytes);
    case image::Compression::kGzip:
      return Gzip(bytes);
    case image::Compression::kZstd:
      return Zstd(bytes);
  }
  abort();
}

BuiltImage BuildImage(const TestImage& image) {
  const MediaTypes& types = image.docker_types ? kDockerTypes : kOciTypes;
  BuiltImage out;
  Json layers = Json::array();
  for (const TestLayer& layer : image.layers) {
    Blob blob{"", Compress(layer.tar, layer.compression)};
    blob.digest = image::DigestOf(blob.bytes);
    layers.push_back(DescriptorOf(LayerType(types, layer.compression), blob));
    out.layers.push_back(std::move(blob));
    out.diff_ids.push_back(image::DigestOf(layer.tar));
  }
  Json config = {{"architecture", image.architecture.empty() ? image::HostPlatform().architecture
                                                             : image.architecture},
                 {"os", image.os},
                 {"config", image.config},
                 {"rootfs", {{"type", "layers"}, {"diff_ids", out.diff_ids}}}};
  out.config.bytes = config.dump();
  out.config.digest = image::DigestOf(out.config.bytes);
  Json manifest = {{"schemaVersion", 2},
                   {"mediaType", types.manifest},
                   {"config", DescriptorOf(types.config, out.config)},
                   {"layers", layers}};
  if (!image.annotations.empty()) manifest["annotations"] = image.annotations;
  out.manifest = manifest.dump();
  out.media_type = types.manifest;
  out.digest = image::DigestOf(out.manifest);
  return out;
}

BuiltImage SimpleImage(const std::vector<TarEntry>& entries) {
  TestImage image;
  image.layers = {{MakeTar(entries)}};
  image.config = {{"Cmd", {"/bin/sh"}}, {"Env", {"PATH=/bin"}}};
  return BuildImage(image);
}

BuiltIndex BuildIndex(const std::vector<PlatformImage>& images) {
  BuiltIndex out;
  out.media_type = "application/vnd.oci.image.index.v1+json";
  Json manifests = Json::array();
  for (const PlatformImage& entry : images) {
    Json descriptor =
        DescriptorOf(entry.image->media_type.c_str(), {entry.image->digest, entry.image->manifest});
    descriptor["platform"] = {{"os", entry.os}, {"architecture", entry.architecture}};
    manifests.push_back(std::move(descriptor));
  }
  out.index =
      Json{{"schemaVersion", 2}, {"mediaType", out.media_type}, {"manifests", manifests}}.dump();
  out.digest = image::DigestOf(out.index);
  return out;
}

std::vector<TarEntry> OciLayout(const std::vector<NamedImage>& images) {
  std::vector<TarEntry> out = {
      {.path = "oci-layout", .content = R"({"imageLayoutVersion":"1.0.0"})"},
      {.path = "blobs", .type = EntryType::kDirectory, .mode = 0755},
      {.path = "blobs/sha256", .type = EntryType::kDirectory, .mode = 0755}};
  std::map<std::string, std::string> blobs;
  Json manifests = Json::array();
  for (const NamedImage& entry : images) {
    const BuiltImage& image = *entry.image;
    blobs[image.digest] = image.manifest;
    blobs[image.config.digest] = image.config.bytes;
    for (const Blob& layer : image.layers) blobs[layer.digest] = layer.bytes;
    Json descriptor = DescriptorOf(image.media_type.c_str(), {image.digest, image.manifest});
    if (!entry.names.empty()) {
      descriptor["annotations"] = {{"org.opencontainers.image.ref.name", entry.names.front()}};
    }
    manifests.push_back(std::move(descriptor));
  }
  for (auto& [digest, bytes] : blobs) {
    out.push_back({.path = StrCat("blobs/sha256/", digest.substr(7)), .content = std::move(bytes)});
  }
  out.push_back({.path = "index.json",
                 .content = Json{{"schemaVersion", 2}, {"manifests", manifests}}.dump()});
  return out;
}

std::vector<TarEntry> DockerArchive(const std::vector<NamedImage>& images) {
  std::vector<TarEntry> out;
  Json manifest = Json::array();
  std::map<std::string, std::string> layer_paths;  // by digest
  for (size_t i = 0; i < images.size(); ++i) {
    const BuiltImage& image = *images[i].image;
    Json layers = Json::array();
    for (size_t k = 0; k < image.layers.size(); ++k) {
      const std::string directory = StrCat("layer-", i, "-", k);
      const std::string path = directory + "/layer.tar";
      const Blob& layer = image.layers[k];
      out.push_back({.path = directory, .type = EntryType::kDirectory, .mode = 0755});
      auto [known, added] = layer_paths.emplace(layer.digest, path);
      if (added) {
        out.push_back({.path = path, .content = layer.bytes});
      } else {
        out.push_back(
            {.path = path, .content = "../" + known->second, .type = EntryType::kSymlink});
      }
      layers.push_back(path);
    }
    const std::string config = image.config.digest.substr(7) + ".json";
    out.push_back({.path = config, .content = image.config.bytes});
    manifest.push_back({{"Config", config}, {"RepoTags", images[i].names}, {"Layers", layers}});
  }
  out.push_back({.path = "manifest.json", .content = manifest.dump()});
  return out;
}

}  // namespace berth::testing
