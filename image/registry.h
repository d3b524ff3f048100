// The pulling half of the OCI distribution API (distribution-spec, "Pull").
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "base/sync.h"
#include "image/blob_transfer.h"
#include "image/http_client.h"
#include "image/manifest.h"
#include "image/range_transfer.h"
#include "image/registry_auth.h"

namespace berth::image {

// A manifest or an index as it was served; the digest has been computed from the bytes.
struct RawManifest {
  std::string bytes;
  std::string content_type;
  std::string digest;
};

// What a registry's refusal means: the code of its status, and the reason that it gives.
Error StatusError(const HttpRequest& request, const HttpResponse& response);
// The URL of something in the scope's repository: "manifests/latest".
std::string UrlIn(const AuthScope& scope, std::string_view path);

// One repository as one user sees it, on all the servers that have it. Thread-safe. The client and
// the authorizer must outlive it.
//
// Servers are asked in their order, each for what it may be asked for (capabilities). Whatever goes
// wrong with one (down, any refusal, other bytes than asked for), the next one is asked; a blob
// goes on at the byte where it was. One that could not be reached, or that gave false bytes, is
// left out afterwards as long as there are others.
//
// On one server, a connection that breaks before the first byte, a 5xx and a 429 are tried again
// twice, one that says nothing at all once, after a pause with jitter (Retry-After is respected up
// to 30 s; a server that wants more has refused).
//
// Errors name each server that was asked and what it said, and have the code of the last one, which
// is the registry itself: NotFound, Unauthenticated, PermissionDenied, Unavailable (down, 5xx,
// 429), DataLoss (digest, size), FailedPrecondition (no server may be asked), and what HttpClient
// says.
class Repository {
 public:
  // At least one route. With slots, which must outlive it, large blobs come by several ranges at a
  // time, from servers that know ranges and are slower than the sink.
  Repository(HttpClient& http, Authorizer& authorizer, std::vector<AuthScope> routes,
             RangeSlots* slots = nullptr);

  // The digest of what the tag or digest names, without fetching it; "" if the registry says none.
  Result<std::string> Resolve(const Context& context, const std::string& tag_or_digest);
  // DataLoss if the bytes are not those of the digest asked for, or of Docker-Content-Digest.
  // Where a mirror may not say what a tag is, the others do, and the mirror is asked by digest.
  Result<RawManifest> GetManifest(const Context& context, const std::string& tag_or_digest);
  // A small blob, whole and of the right digest.
  Result<std::string> GetBlob(const Context& context, const Descriptor& blob);

  // Gives the blob's bytes in order to the sink, exactly blob.size of them, and does not check the
  // digest. Goes on where it was (Range) if a connection breaks, stalls or ends early: on one
  // server at most 20 times, and twice without any progress. A failure of the sink is returned as
  // it is.
  Status StreamBlob(const Context& context, const Descriptor& blob, const BlobSink& sink);
  // The bytes of the blob were not those of its digest: whoever gave them is not asked again. True
  // if there is another one to ask.
  bool Distrust(const std::string& digest) EXCLUDES(mutex_);

 private:
  struct Route {
    AuthScope scope;
    std::atomic<bool> avoided{false};
    std::atomic<bool> no_ranges{false};
  };
  using Capability = bool RegistryEndpoint::*;

  std::vector<Route*> RoutesWith(Capability capability) const;
  bool NeedsResolve() const;
  template <typename T>
  Result<T> AskInOrder(const Context& context, Capability capability,
                       const std::function<Result<T>(const AuthScope&)>& ask);
  Result<RawManifest> GetManifestFrom(const Context& context, const AuthScope& scope,
                                      const std::string& tag_or_digest);
  Status Transfer(const Context& context, Route& route, BlobTransfer& transfer);
  Status TransferRanges(const Context& context, Route& route, BlobTransfer& transfer);
  // Builds the request's URL, authorizes, retries, and turns a bad status into an error. `started`
  // tells that the sink has had bytes, so that a retry would repeat them.
  Result<HttpResponse> Send(const Context& context, const AuthScope& scope, HttpRequest request,
                            const bool* started);
  Result<HttpResponse> SendAuthorized(const Context& context, const AuthScope& scope,
                                      HttpRequest request);

  HttpClient& http_;
  Authorizer& authorizer_;
  std::vector<std::unique_ptr<Route>> routes_;
  RangeSlots* slots_;
  Mutex mutex_;
  std::map<std::string, std::set<Route*>> sources_ GUARDED_BY(mutex_);  // of blobs, by digest
};

}  // namespace berth::image
