// Images made in memory, for registries of tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "image/layer_unpacker.h"

namespace berth::testing {

enum class EntryType { kFile, kDirectory, kSymlink, kHardLink, kCharDevice, kBlockDevice, kFifo };

struct TarEntry {
  std::string path = {};
  std::string content = {};  // of a file; the target of a link
  EntryType type = EntryType::kFile;
  mode_t mode = 0644;
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t mtime = 1'600'000'000;
  dev_t device = 0;  // makedev(3)
  std::vector<std::pair<std::string, std::string>> xattrs = {};
};
// A POSIX (pax) tar of the entries, in their order. Aborts on what libarchive cannot write.
std::string MakeTar(const std::vector<TarEntry>& entries);
std::string Compress(std::string_view bytes, image::Compression compression);

struct TestLayer {
  std::string tar = {};
  image::Compression compression = image::Compression::kGzip;
};

struct TestImage {
  std::vector<TestLayer> layers = {};
  // The "config" object of the image configuration: {"Cmd": ["/bin/sh"], "Env": [...]}.
  Json config = Json::object();
  std::string architecture = {};  // empty: this machine's
  std::string os = "linux";
  bool docker_types = false;          // Docker's media types and not OCI's
  Json annotations = Json::object();  // of the manifest
};

struct Blob {
  std::string digest;
  std::string bytes;
};

// What a registry would serve for an image. The fields may be changed to make it a wrong one.
struct BuiltImage {
  std::string manifest;
  std::string media_type;
  std::string digest;  // of the manifest
  Blob config;         // config.digest is the image id
  std::vector<Blob> layers;
  std::vector<std::string> diff_ids;
};
BuiltImage BuildImage(const TestImage& image);

// An image of one gzip layer with these files and a small configuration.
BuiltImage SimpleImage(const std::vector<TarEntry>& entries);

struct BuiltIndex {
  std::string index;
  std::string media_type;
  std::string digest;
};
struct PlatformImage {
  const BuiltImage* image;
  std::string os;
  std::string architecture;
};
BuiltIndex BuildIndex(const std::vector<PlatformImage>& images);

// Archives of images: the members, for MakeTar() or for files of a directory.
struct NamedImage {
  const BuiltImage* image;
  std::vector<std::string> names;  // of an OCI layout: one, or none
};
// An OCI layout. A name goes into org.opencontainers.image.ref.name.
std::vector<TarEntry> OciLayout(const std::vector<NamedImage>& images);
// What `docker save` wrote from 1.10 to 24: manifest.json, HEX.json, HEX/layer.tar (plain tars),
// and links for layers that images share.
std::vector<TarEntry> DockerArchive(const std::vector<NamedImage>& images);

}  // namespace berth::testing
