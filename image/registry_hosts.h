// Who is asked for the images of a registry, in which order, and how: certs.d/HOST/hosts.toml,
// [registry."HOST"] of the configuration, or the registry itself.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/http_client.h"
#include "image/registry_auth.h"

namespace berth::image {

// A registry that differs from the default (https, the system's CAs): [registry."HOST"].
struct RegistryHost {
  std::string host;  // "registry.example:5000"
  bool plain_http = false;
  bool skip_verify = false;
  std::string ca_file;
};

struct RegistryOptions {
  std::vector<RegistryHost> hosts;
  std::vector<std::string> config_dirs;  // with HOST/hosts.toml; may be missing
  std::string credentials_file;          // config.json; empty: none
  std::string helper_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
};

// The servers to ask for the registry's images, in order; the registry itself is the last one.
// Reads the files anew. The first of these that there is counts:
//
//   1. DIR/HOST_PORT_/ or DIR/HOST:PORT/, in the first DIR that has one
//   2. [registry."HOST:PORT"]
//   3. DIR/_default/, in the first DIR that has it
//   4. https://HOST:PORT (registry-1.docker.io for docker.io); plain HTTP for loopback only, and
//      never as a fallback (CVE-2014-5277)
//
// A directory has hosts.toml, or docker's *.crt (CAs) and *.cert with *.key (client certificates).
// InvalidArgument names the file and the line; NotFound a certificate that is not there.
Result<std::vector<RegistryEndpoint>> EndpointsOf(const std::string& domain,
                                                  const RegistryOptions& options);

// The endpoints with the credentials that each may have: those of the request for the registry
// itself, or if they name a host (server_address), for that host only; else those that
// credentials_file has for the endpoint's host. May run a credential helper.
Result<std::vector<AuthScope>> RoutesFor(const Context& context, const std::string& domain,
                                         const std::string& repository, const RegistryAuth& auth,
                                         const RegistryOptions& options);

}  // namespace berth::image
