// certs.d/HOST/hosts.toml, containerd's description of where a registry's images come from
// (containerd, docs/hosts.md).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace berth::config {

struct ClientCertificateFiles {
  std::string certificate;  // PEM
  std::string key;          // PEM; empty: in the same file
};

// One server that may be asked.
struct RegistryServer {
  // "https://mirror.example:5000/v2", what the API's paths follow: "/v2" has been added unless the
  // file says override_path.
  std::string url;
  bool pull = true, resolve = true, push = true;
  bool is_mirror = false;  // a [host."..."], not the registry itself
  std::vector<std::string> ca_files;
  std::vector<ClientCertificateFiles> clients;
  bool skip_verify = false;
  std::vector<std::pair<std::string, std::string>> headers;
  int64_t dial_timeout_ms = 0;  // 0: the usual
};

// The servers in the order in which they are to be asked: the [host] tables in the order of the
// file, then the registry itself, `server`, which is `own_url` if the file names none. Relative
// paths are taken from `directory`. InvalidArgument begins with `file` and the line: for what is no
// TOML, an unknown key, a wrong type, an impossible value.
Result<std::vector<RegistryServer>> ParseHostsToml(const std::string& text, const std::string& file,
                                                   const std::string& directory,
                                                   const std::string& own_url);

}  // namespace berth::config
