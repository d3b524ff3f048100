// What Berth knows of an image once it is in the store.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace berth::image {

// The parts of an OCI image configuration that a container is made from (image-spec config.md).
// Everything in it is untrusted text.
struct ImageConfig {
  std::string user;  // "uid", "uid:gid", "name", "name:group"...
  std::string working_dir;
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // "NAME=value", bytes
  std::vector<std::string> volumes;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::string architecture;
  std::string os;
  std::vector<std::string> diff_ids;  // layers, the lowest first
};

struct Image {
  std::string id;  // digest of the configuration, "sha256:<hex>": the id in every CRI field
  std::vector<std::string> repo_tags;     // "registry.example/app:1"
  std::vector<std::string> repo_digests;  // "registry.example/app@sha256:<hex>"
  uint64_t size_bytes = 0;                // unpacked layers
  int64_t pulled_at_ns = 0;
  bool pinned = false;
  ImageConfig config;
  std::string config_json;                         // the configuration as it came
  std::map<std::string, std::string> annotations;  // of the manifest
};

}  // namespace berth::image
