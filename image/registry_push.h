// The pushing half of the OCI distribution API (distribution-spec, "Push").
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/context.h"
#include "base/result.h"
#include "image/http_client.h"
#include "image/registry_auth.h"

namespace berth::image {

// One repository that one user writes to. Errors are those of Repository (registry.h), naming the
// request and what the registry answered. What is safe to repeat is tried again twice. Credentials
// go to the registry's own origin only, wherever it wants its blobs.
class RepositoryWriter {
 public:
  RepositoryWriter(HttpClient& http, Authorizer& authorizer, AuthScope scope);

  Result<bool> HasBlob(const Context& context, const std::string& digest);

  using Sink = std::function<Status(std::string_view bytes)>;
  // Writes the blob into the sink; called once.
  using Source = std::function<Status(const Sink& sink)>;
  // Sends it in pieces of kPieceBytes, of which one at a time is in memory. `on_bytes` is told how
  // much the registry has. A registry keeps nothing of a blob whose digest is another.
  static constexpr size_t kPieceBytes = 8 << 20;
  Status PushBlob(const Context& context, const std::string& digest, const Source& source,
                  const std::function<void(int64_t)>& on_bytes);
  // A small one, that is here.
  Status PushBlob(const Context& context, const std::string& digest, const std::string& bytes);
  Status PushManifest(const Context& context, const std::string& tag, const std::string& media_type,
                      const std::string& bytes);

 private:
  Result<HttpResponse> Send(const Context& context, const HttpRequest& request);
  Result<HttpResponse> SendOnce(const Context& context, HttpRequest request);
  // Where the rest of an upload goes.
  Result<std::string> LocationOf(const HttpResponse& response) const;
  Result<std::string> BeginUpload(const Context& context);
  Status EndUpload(const Context& context, const std::string& location, const std::string& digest,
                   std::string last_piece);

  HttpClient& http_;
  Authorizer& authorizer_;
  AuthScope scope_;
};

}  // namespace berth::image
