#include "image/manifest.h"

#include <algorithm>
#include <array>

#include "base/json.h"
#include "image/digest.h"

namespace berth::image {

namespace {

constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view kSchema1Prefix = "application/vnd.docker.distribution.manifest.v1+";

// Docker's early pushes called the configuration a byte stream.
constexpr std::array<std::string_view, 3> kConfigTypes = {
    "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json",
    "application/octet-stream"};

struct LayerType {
  std::string_view media_type;
  Compression compression;
};
constexpr std::array<LayerType, 10> kLayerTypes = {{
    {"application/vnd.oci.image.layer.v1.tar", Compression::kNone},
    {"application/vnd.oci.image.layer.v1.tar+gzip", Compression::kGzip},
    {"application/vnd.oci.image.layer.v1.tar+zstd", Compression::kZstd},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", Compression::kNone},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::kGzip},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Compression::kZstd},
    {"application/vnd.docker.image.rootfs.diff.tar", Compression::kNone},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::kGzip},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::kZstd},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::kGzip},
}};

bool IsManifestType(std::string_view type) {
  return type == kOciManifest || type == kDockerManifest;
}
bool IsIndexType(std::string_view type) {
  return type == kOciIndex || type == kDockerList;
}

Error Malformed(std::string_view why) {
  return {Code::kDataLoss, std::string(why)};
}

// "application/json; charset=utf-8" -> "application/json".
std::string EssenceOf(std::string_view content_type) {
  return ToLower(Trim(content_type.substr(0, content_type.find(';'))));
}

Result<Descriptor> ParseDescriptor(const Json& json) {
  Descriptor out;
  ASSIGN_OR_RETURN(out.media_type, JsonString(json, "mediaType"));
  ASSIGN_OR_RETURN(out.digest, JsonString(json, "digest"));
  ASSIGN_OR_RETURN(out.size, JsonInt(json, "size", -1));
  RETURN_IF_ERROR(CheckDigest(out.digest, "digest"));
  if (out.size < 0) return Malformed("size is missing or negative");
  return out;
}

Result<std::map<std::string, std::string>> ParseAnnotations(const Json& json) {
  std::map<std::string, std::string> out;
  if (!json.contains("annotations") || json["annotations"].is_null()) return out;
  const Json& annotations = json["annotations"];
  if (!annotations.is_object()) return Malformed("\"annotations\" is no object");
  size_t bytes = 0;
  for (const auto& [key, value] : annotations.items()) {
    if (!value.is_string()) return Malformed("annotations: a value is no string");
    out[key] = value.get<std::string>();
    bytes += key.size() + out[key].size();
  }
  if (bytes > kMaxAnnotationBytes) out.clear();
  return out;
}

Result<Manifest> ParseImageManifest(const Json& json) {
  Manifest out;
  if (!json.contains("config") || !json["config"].is_object()) return Malformed("no \"config\"");
  ASSIGN_OR_RETURN(out.config, ParseDescriptor(json["config"]), "config");
  if (std::find(kConfigTypes.begin(), kConfigTypes.end(), out.config.media_type) ==
      kConfigTypes.end()) {
    return Error(Code::kUnimplemented,
                 StrCat("not a container image: its configuration has the type \"",
                        Printable(out.config.media_type, 100), "\""));
  }
  if (out.config.size > static_cast<int64_t>(kMaxDocumentBytes)) {
    return Malformed(StrCat("config: larger than ", kMaxDocumentBytes, " bytes"));
  }
  if (!json.contains("layers") || !json["layers"].is_array()) return Malformed("no \"layers\"");
  const Json& layers = json["layers"];
  if (layers.size() > kMaxLayers) return Malformed(StrCat("more than ", kMaxLayers, " layers"));
  for (size_t i = 0; i < layers.size(); ++i) {
    ASSIGN_OR_RETURN(auto layer, ParseDescriptor(layers[i]), "layer ", i);
    auto compression = LayerCompression(layer.media_type);
    if (!compression.ok()) return std::move(compression).error().Wrap(StrCat("layer ", i));
    out.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(out.annotations, ParseAnnotations(json));
  return out;
}

Result<IndexEntry> ParseIndexEntry(const Json& json) {
  IndexEntry out;
  ASSIGN_OR_RETURN(out.descriptor, ParseDescriptor(json));
  if (json.contains("platform") && !json["platform"].is_null()) {
    const Json& platform = json["platform"];
    out.platform.emplace();
    ASSIGN_OR_RETURN(out.platform->os, JsonString(platform, "os"), "platform");
    ASSIGN_OR_RETURN(out.platform->architecture, JsonString(platform, "architecture"), "platform");
    ASSIGN_OR_RETURN(out.platform->variant, JsonString(platform, "variant"), "platform");
  }
  ASSIGN_OR_RETURN(out.annotations, ParseAnnotations(json));
  return out;
}

Result<Index> ParseImageIndex(const Json& json) {
  Index out;
  if (!json.contains("manifests") || !json["manifests"].is_array()) {
    return Malformed("no \"manifests\"");
  }
  const Json& manifests = json["manifests"];
  for (size_t i = 0; i < manifests.size(); ++i) {
    ASSIGN_OR_RETURN(auto entry, ParseIndexEntry(manifests[i]), "manifest ", i);
    out.entries.push_back(std::move(entry));
  }
  return out;
}

// The type that both the registry and the document agree upon.
Result<std::string> AgreedType(const Json& json, std::string_view content_type) {
  std::string served = EssenceOf(content_type);
  ASSIGN_OR_RETURN(std::string own, JsonString(json, "mediaType"));
  ASSIGN_OR_RETURN(int64_t version, JsonInt(json, "schemaVersion", 2));
  if (version == 1 || served.starts_with(kSchema1Prefix) || own.starts_with(kSchema1Prefix)) {
    return Error(
        Code::kUnimplemented,
        "Docker schema 1 images are no longer supported: push it again with a current tool");
  }
  if (version != 2) return Malformed(StrCat("schemaVersion ", version, " is unknown"));
  if (json.contains("layers") && json.contains("manifests")) {
    return Malformed("both \"layers\" and \"manifests\": neither a manifest nor an index");
  }
  // Registries that know nothing of manifests serve them as plain JSON or bytes.
  const bool generic = served.empty() || served == "application/json" || served == "text/plain" ||
                       served == "application/octet-stream";
  if (!generic && !own.empty() && own != served) {
    return Malformed(StrCat("served as \"", Printable(served, 100), "\" but its mediaType is \"",
                            Printable(own, 100), "\""));
  }
  return generic ? own : served;
}

Result<ManifestDocument> Parse(std::string_view bytes, std::string_view content_type) {
  if (bytes.size() > kMaxDocumentBytes) {
    return Malformed(StrCat("larger than ", kMaxDocumentBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(Json json, ParseJson(bytes));
  if (!json.is_object()) return Malformed("not a JSON object");
  ASSIGN_OR_RETURN(std::string type, AgreedType(json, content_type));
  if (IsManifestType(type)) {
    ASSIGN_OR_RETURN(auto manifest, ParseImageManifest(json));
    return ManifestDocument(std::move(manifest));
  }
  if (IsIndexType(type)) {
    ASSIGN_OR_RETURN(auto index, ParseImageIndex(json));
    return ManifestDocument(std::move(index));
  }
  return Malformed(StrCat("the type \"", Printable(type, 100), "\" is no manifest"));
}

// How good a variant is for the host: 0 is unusable, higher is better.
int VariantRank(const Platform& offered, const Platform& host) {
  auto level = [](const Platform& platform) {
    std::string_view text = platform.variant;
    if (text.empty()) return platform.architecture == "arm64" ? 8 : 1;
    if (!text.starts_with('v')) return 0;
    return ParseNumber<int>(text.substr(1)).value_or(0);
  };
  int rank = level(offered);
  return rank > 0 && rank <= level(host) ? rank : 0;
}

std::string Describe(const Platform& platform) {
  std::string text = StrCat(platform.os, "/", platform.architecture);
  if (!platform.variant.empty()) text += StrCat("/", platform.variant);
  return Printable(text, 40);
}

int RankOf(const IndexEntry& entry, size_t entries, const Platform& host) {
  if (!IsManifestType(entry.descriptor.media_type)) return 0;
  // An index of one nameless manifest leaves no choice; its configuration names the platform.
  if (!entry.platform.has_value()) return entries == 1 ? 1 : 0;
  if (entry.platform->os != host.os || entry.platform->architecture != host.architecture) return 0;
  return VariantRank(*entry.platform, host);
}

#if defined(__x86_64__)
// The levels of the x86-64 psABI.
const char* HostVariant() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt")) return "v1";
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") ||
      !__builtin_cpu_supports("fma")) {
    return "v2";
  }
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512cd")) {
    return "v3";
  }
  return "v4";
}
#endif

}  // namespace

const char kOciIndexType[] = "application/vnd.oci.image.index.v1+json";
const char kManifestAccept[] =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json";

Result<ManifestDocument> ParseManifest(std::string_view bytes, std::string_view content_type) {
  auto document = Parse(bytes, content_type);
  if (document.ok()) return document;
  Error error = std::move(document).error();
  // The helpers blame an argument; here it is what the registry sent.
  if (error.code() == Code::kInvalidArgument) error = std::move(error).WithCode(Code::kDataLoss);
  return std::move(error).Wrap("manifest");
}

Platform HostPlatform() {
#if defined(__x86_64__)
  return {"linux", "amd64", HostVariant()};
#elif defined(__aarch64__)
  return {"linux", "arm64", "v8"};
#else
#error "unknown architecture"
#endif
}

Result<Descriptor> SelectPlatform(const Index& index, const Platform& host) {
  const IndexEntry* best = nullptr;
  int best_rank = 0;
  for (const IndexEntry& entry : index.entries) {
    int rank = RankOf(entry, index.entries.size(), host);
    if (rank > best_rank) {
      best = &entry;
      best_rank = rank;
    }
  }
  if (best != nullptr) return best->descriptor;
  std::vector<std::string> offered;
  for (const IndexEntry& entry : index.entries) {
    if (entry.platform.has_value() && offered.size() < 20) {
      offered.push_back(Describe(*entry.platform));
    }
  }
  return Error(Code::kNotFound,
               StrCat("no image for ", host.os, "/", host.architecture,
                      "; the index has: ", offered.empty() ? "nothing" : Join(offered, ", ")));
}

Result<Compression> LayerCompression(std::string_view media_type) {
  for (const LayerType& known : kLayerTypes) {
    if (known.media_type == media_type) return known.compression;
  }
  return Error(Code::kUnimplemented, StrCat("the type \"", Printable(media_type, 100),
                                            "\" is no layer that Berth can unpack"));
}

}  // namespace berth::image
