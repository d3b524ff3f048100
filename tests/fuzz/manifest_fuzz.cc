// The documents of an image: manifests, indexes and configurations.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "image/digest.h"
#include "image/image_config.h"
#include "image/manifest.h"

namespace berth::image {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckDescriptor(const Descriptor& descriptor) {
  Require(IsDigest(descriptor.digest) && descriptor.size >= 0);
}

void CheckManifest(std::string_view bytes) {
  auto document = ParseManifest(bytes, "");
  if (!document.ok()) {
    Require(document.code() == Code::kDataLoss || document.code() == Code::kUnimplemented);
    return;
  }
  if (const auto* manifest = std::get_if<Manifest>(&*document)) {
    CheckDescriptor(manifest->config);
    Require(manifest->layers.size() <= kMaxLayers);
    for (const Descriptor& layer : manifest->layers) {
      CheckDescriptor(layer);
      Require(LayerCompression(layer.media_type).ok());
    }
    return;
  }
  const auto& index = std::get<Index>(*document);
  for (const IndexEntry& entry : index.entries) CheckDescriptor(entry.descriptor);
  auto chosen = SelectPlatform(index, HostPlatform());
  if (chosen.ok()) CheckDescriptor(*chosen);
}

void CheckConfig(std::string_view bytes) {
  auto config = ParseImageConfig(bytes);
  if (!config.ok()) {
    Require(config.code() == Code::kDataLoss);
    return;
  }
  Require(config->diff_ids.size() <= kMaxLayers);
  for (const std::string& diff_id : config->diff_ids) Require(IsDigest(diff_id));
  for (const auto& list : {config->env, config->entrypoint, config->cmd, config->volumes}) {
    for (const std::string& text : list) Require(text.find('\0') == std::string::npos);
  }
}

}  // namespace
}  // namespace berth::image

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  berth::image::CheckManifest(bytes);
  berth::image::CheckConfig(bytes);
  return 0;
}
