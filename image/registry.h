// The pulling half of the OCI distribution API (distribution-spec, "Pull").
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/http_client.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/registry_auth.h"

namespace berth::image {

// A registry host that differs from the default (https, the system's CAs). From the configuration.
struct RegistryHost {
  std::string host;  // "registry.example:5000"
  bool plain_http = false;
  bool skip_verify = false;
  std::string ca_file;
};

// How the client of `hosts` has to trust them.
HttpClientOptions ClientOptions(const std::vector<RegistryHost>& hosts, int64_t stall_timeout_ms);

// "https://registry-1.docker.io". Plain http for loopback hosts without a configuration of their
// own, and where the configuration says so; never as a fallback (CVE-2014-5277).
std::string BaseUrlOf(std::string_view domain, const std::vector<RegistryHost>& hosts);

// A manifest or an index as it was served; the digest has been computed from the bytes.
struct RawManifest {
  std::string bytes;
  std::string content_type;
  std::string digest;
};

// What a registry's refusal means: the code of its status, and the reason that it gives.
Error StatusError(const HttpRequest& request, const HttpResponse& response);

// One repository as one user sees it. Thread-safe. The client and the authorizer must outlive it.
//
// A connection that breaks before the first byte, a 5xx and a 429 are tried again twice, after a
// pause (Retry-After is respected up to 10 s). Errors: NotFound, Unauthenticated, PermissionDenied,
// Unavailable (down, 5xx, 429), DataLoss (digest, size), and what HttpClient says.
class Repository {
 public:
  Repository(HttpClient& http, Authorizer& authorizer, std::string base_url, std::string repository,
             Credentials credentials);

  // The digest of what the tag or digest names, without fetching it; "" if the registry says none.
  Result<std::string> Resolve(const Context& context, const std::string& tag_or_digest);
  // DataLoss if the bytes are not those of the digest asked for, or of Docker-Content-Digest.
  Result<RawManifest> GetManifest(const Context& context, const std::string& tag_or_digest);
  // A small blob, whole and of the right digest.
  Result<std::string> GetBlob(const Context& context, const Descriptor& blob);

  using BlobSink = std::function<Status(std::string_view bytes)>;
  // Gives the blob's bytes in order to the sink, exactly blob.size of them, and does not check the
  // digest. Goes on where it was (Range) if a connection breaks or stalls after some progress, at
  // most 20 times. A failure of the sink is returned as it is.
  Status StreamBlob(const Context& context, const Descriptor& blob, const BlobSink& sink);

 private:
  class BlobTransfer;

  // Builds the request's URL, authorizes, retries, and turns a bad status into an error. `started`
  // tells that the sink has had bytes, so that a retry would repeat them.
  Result<HttpResponse> Send(const Context& context, HttpRequest request, const bool* started);
  Result<HttpResponse> SendAuthorized(const Context& context, HttpRequest request);
  HttpClient& http_;
  Authorizer& authorizer_;
  AuthScope scope_;
};

}  // namespace berth::image
