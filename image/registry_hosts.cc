#include "image/registry_hosts.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "base/file.h"
#include "config/hosts_toml.h"
#include "image/docker_config.h"
#include "image/reference.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr char kHub[] = "docker.io";
constexpr char kHubHost[] = "registry-1.docker.io";
constexpr char kDefaultDirectory[] = "_default";

std::string OwnHost(const std::string& domain) {
  return domain == kHub ? kHubHost : domain;
}

std::string OwnUrl(const std::string& domain, bool plain_http) {
  return StrCat(plain_http ? "http://" : "https://", OwnHost(domain));
}

bool IsLoopbackRegistry(const std::string& domain) {
  return IsLoopbackHost(HostOf(domain));
}

// "host:port" as references write it: `own` if it is that one, else without the scheme's usual
// port.
std::string HostIn(const Origin& origin, const std::string& own) {
  const std::string full = StrCat(origin.host, ":", origin.port);
  const bool usual = origin.port == (origin.scheme == "https" ? "443" : "80");
  const std::string host = usual ? origin.host : full;
  const std::string own_host = ToLower(OwnHost(own));
  return host == own_host || full == own_host ? ToLower(own) : host;
}

// The directories that containerd would look for, for "registry.example:5000":
// "registry.example_5000_" for those who want no colon in a file's name, then the name itself.
std::vector<std::string> DirectoryNames(const std::string& domain) {
  std::vector<std::string> out;
  const size_t host_end = HostOf(domain).size() + (domain.starts_with('[') ? 2 : 0);
  if (host_end < domain.size()) {
    out.push_back(StrCat(domain.substr(0, host_end), "_", domain.substr(host_end + 1), "_"));
  }
  out.push_back(domain);
  return out;
}

std::optional<std::string> FindDirectory(const std::vector<std::string>& roots,
                                         const std::vector<std::string>& names) {
  for (const std::string& root : roots) {
    for (const std::string& name : names) {
      std::string path = StrCat(root, "/", name);
      if (Open(path, O_RDONLY | O_DIRECTORY).ok()) return path;
    }
  }
  return std::nullopt;
}

Result<std::shared_ptr<const HostOptions>> OptionsOf(const config::RegistryServer& server) {
  auto out = std::make_shared<HostOptions>();
  out->skip_verify = server.skip_verify;
  out->headers = server.headers;
  out->dial_timeout_ms = server.dial_timeout_ms;
  for (const std::string& file : server.ca_files) {
    ASSIGN_OR_RETURN(const std::string pem, ReadFile(file, kMaxFileBytes), "ca");
    out->ca_pem += StrCat(pem, "\n");
  }
  for (const config::ClientCertificateFiles& files : server.clients) {
    ASSIGN_OR_RETURN(const std::string pem, ReadFile(files.certificate, kMaxFileBytes), "client");
    std::string key = pem;
    if (!files.key.empty()) {
      ASSIGN_OR_RETURN(key, ReadFile(files.key, kMaxFileBytes), "client");
    }
    RETURN_IF_ERROR(out->client_certificates.Add(pem, key), "client ", files.certificate);
  }
  return std::shared_ptr<const HostOptions>(std::move(out));
}

Result<RegistryEndpoint> EndpointOf(const config::RegistryServer& server,
                                    const std::string& domain) {
  RegistryEndpoint out;
  out.base_url = server.url;
  ASSIGN_OR_RETURN(const Origin origin, OriginOf(server.url));
  out.host = HostIn(origin, domain);
  out.is_mirror = server.is_mirror;
  // A mirror of several registries has to be told which one is meant (containerd's "ns").
  if (out.host != ToLower(domain)) out.query = StrCat("ns=", domain);
  out.pull = server.pull;
  out.resolve = server.resolve;
  out.push = server.push;
  ASSIGN_OR_RETURN(out.options, OptionsOf(server));
  return out;
}

// A directory as docker knows it.
Result<config::RegistryServer> ReadDockerDirectory(const std::string& directory,
                                                   const std::string& own_url) {
  config::RegistryServer out;
  out.url = StrCat(own_url, "/v2");
  ASSIGN_OR_RETURN(auto dir, Open(directory, O_RDONLY | O_DIRECTORY));
  std::vector<std::string> names;
  RETURN_IF_ERROR(ForEachEntry(dir.get(), [&](const std::string& name) {
    names.push_back(name);
    return Ok();
  }));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (name.ends_with(".crt")) out.ca_files.push_back(StrCat(directory, "/", name));
    if (!name.ends_with(".cert")) continue;
    const std::string key = StrCat(name.substr(0, name.size() - 5), ".key");
    if (!std::binary_search(names.begin(), names.end(), key)) {
      return Error(Code::kInvalidArgument,
                   StrCat(directory, "/", name, ": there is no ", key, " beside it"));
    }
    out.clients.push_back({StrCat(directory, "/", name), StrCat(directory, "/", key)});
  }
  return out;
}

Result<std::vector<RegistryEndpoint>> ReadDirectory(const std::string& directory,
                                                    const std::string& domain,
                                                    const std::string& own_url) {
  const std::string file = StrCat(directory, "/hosts.toml");
  std::vector<config::RegistryServer> servers;
  auto text = ReadFile(file, kMaxFileBytes);
  if (text.ok()) {
    ASSIGN_OR_RETURN(servers, config::ParseHostsToml(*text, file, directory, own_url));
  } else if (text.code() == Code::kNotFound) {
    ASSIGN_OR_RETURN(auto server, ReadDockerDirectory(directory, own_url));
    servers.push_back(std::move(server));
  } else {
    return std::move(text).error();
  }
  std::vector<RegistryEndpoint> out;
  for (const config::RegistryServer& server : servers) {
    ASSIGN_OR_RETURN(auto endpoint, EndpointOf(server, domain), file, ": ", server.url);
    out.push_back(std::move(endpoint));
  }
  return out;
}

Result<std::vector<RegistryEndpoint>> ConfiguredEndpoint(const std::string& domain,
                                                         const RegistryHost& host) {
  config::RegistryServer server;
  server.url = StrCat(OwnUrl(domain, host.plain_http), "/v2");
  server.skip_verify = host.skip_verify;
  if (!host.ca_file.empty()) server.ca_files = {host.ca_file};
  ASSIGN_OR_RETURN(auto endpoint, EndpointOf(server, domain), "registry.\"", host.host, "\"");
  return std::vector<RegistryEndpoint>{std::move(endpoint)};
}

}  // namespace

Result<std::vector<RegistryEndpoint>> EndpointsOf(const std::string& domain,
                                                  const RegistryOptions& options) {
  const std::string own_url = OwnUrl(domain, IsLoopbackRegistry(domain));
  if (auto directory = FindDirectory(options.config_dirs, DirectoryNames(domain))) {
    return ReadDirectory(*directory, domain, own_url);
  }
  for (const RegistryHost& host : options.hosts) {
    if (ToLower(host.host) == ToLower(domain)) return ConfiguredEndpoint(domain, host);
  }
  if (auto directory = FindDirectory(options.config_dirs, {kDefaultDirectory})) {
    return ReadDirectory(*directory, domain, own_url);
  }
  config::RegistryServer server;
  server.url = StrCat(own_url, "/v2");
  ASSIGN_OR_RETURN(auto endpoint, EndpointOf(server, domain));
  return std::vector<RegistryEndpoint>{std::move(endpoint)};
}

Result<std::vector<AuthScope>> RoutesFor(const Context& context, const std::string& domain,
                                         const std::string& repository, const RegistryAuth& auth,
                                         const RegistryOptions& options) {
  ASSIGN_OR_RETURN(auto endpoints, EndpointsOf(domain, options));
  std::vector<AuthScope> out;
  for (RegistryEndpoint& endpoint : endpoints) {
    AuthScope scope;
    scope.repository = repository;
    // The registry itself may be anywhere ("server"); a mirror has to be named.
    const bool named = !auth.server_address.empty();
    if (named || !endpoint.is_mirror || endpoint.host == ToLower(domain)) {
      ASSIGN_OR_RETURN(scope.credentials,
                       CredentialsFor(auth, endpoint.is_mirror ? endpoint.host : domain));
    }
    if (scope.credentials.empty() && !options.credentials_file.empty()) {
      ASSIGN_OR_RETURN(RegistryAuth found, CredentialsInFile(context, options.credentials_file,
                                                             endpoint.host, options.helper_path));
      ASSIGN_OR_RETURN(scope.credentials, CredentialsFor(found, endpoint.host),
                       options.credentials_file);
    }
    scope.endpoint = std::move(endpoint);
    out.push_back(std::move(scope));
  }
  return out;
}

}  // namespace berth::image
