// Manifests and indexes of OCI (image-spec manifest.md, image-index.md) and Docker (schema 2), and
// the choice of a platform. Everything here is pure: bytes in, checked values out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "image/layer_unpacker.h"

namespace berth::image {

// A larger manifest, index or configuration is refused.
inline constexpr size_t kMaxDocumentBytes = 4 << 20;
inline constexpr size_t kMaxLayers = 500;
// Every list of images has them all, so a manifest with more counts as one without.
inline constexpr size_t kMaxAnnotationBytes = 16 << 10;

// What a document says of a blob. The digest has been checked to be one; `urls` are never read.
struct Descriptor {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
};

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // the lowest first
  std::map<std::string, std::string> annotations;
};

struct IndexEntry {
  Descriptor descriptor;
  std::optional<Platform> platform;
  std::map<std::string, std::string> annotations;
};

struct Index {
  std::vector<IndexEntry> entries;
};

using ManifestDocument = std::variant<Manifest, Index>;

// The value of the Accept header: every type that ParseManifest knows.
extern const char kManifestAccept[];

// `content_type` is what the registry called the bytes; a document that calls itself something
// else, or is a manifest and an index at once (CVE-2021-41190), is refused. DataLoss: malformed or
// beyond a limit. Unimplemented: Docker schema 1, or an artifact that is no container image.
Result<ManifestDocument> ParseManifest(std::string_view bytes, std::string_view content_type);

// An index in a file, as an OCI layout has it, may leave its type out.
extern const char kOciIndexType[];

// This machine's; the variant is the highest that the CPU can run.
Platform HostPlatform();
// The manifest in the index that suits `host` best: the highest variant that it can run, then the
// first. NotFound lists what there is.
Result<Descriptor> SelectPlatform(const Index& index, const Platform& host);

// Unimplemented for a type that is no layer, or is encrypted.
Result<Compression> LayerCompression(std::string_view media_type);

}  // namespace berth::image
