#include "image/registry_push.h"

#include <algorithm>

#include "image/registry.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr int kTries = 3;
constexpr int64_t kPauseMs = 500;
constexpr char kBytesType[] = "application/octet-stream";

bool IsTransient(const Result<HttpResponse>& response) {
  if (!response.ok()) return response.code() == Code::kUnavailable;
  return response->status == 429 || response->status >= 500;
}

}  // namespace

RepositoryWriter::RepositoryWriter(HttpClient& http, Authorizer& authorizer, AuthScope scope)
    : http_(http), authorizer_(authorizer), scope_(std::move(scope)) {}

Result<HttpResponse> RepositoryWriter::SendOnce(const Context& context, HttpRequest request) {
  ASSIGN_OR_RETURN(const Origin registry, OriginOf(scope_.endpoint.base_url));
  ASSIGN_OR_RETURN(const Origin target, OriginOf(request.url));
  request.host = OptionsFor(scope_.endpoint, request.url);
  if (target != registry) return http_.Send(context, request);
  request.authorization = authorizer_.Known(scope_);
  ASSIGN_OR_RETURN(auto response, http_.Send(context, request));
  if (response.status != 401) return response;
  ASSIGN_OR_RETURN(request.authorization,
                   authorizer_.Answer(context, scope_, response.HeaderList("www-authenticate")),
                   request.method, " ", UrlForMessage(request.url));
  return http_.Send(context, request);
}

Result<HttpResponse> RepositoryWriter::Send(const Context& context, const HttpRequest& request) {
  // A piece that may have arrived cannot be sent again.
  const int tries = request.method == "PATCH" ? 1 : kTries;
  for (int i = 1;; ++i) {
    auto response = SendOnce(context, request);
    if (i < tries && IsTransient(response)) {
      (void)context.Timeout(i * kPauseMs).Poll(-1, 0, "wait");
      RETURN_IF_ERROR(context.Check("wait to try again"));
      continue;
    }
    if (!response.ok() || response->ok() || response->status == 404) return response;
    return StatusError(request, *response);
  }
}

Result<bool> RepositoryWriter::HasBlob(const Context& context, const std::string& digest) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = UrlIn(scope_, StrCat("blobs/", digest));
  ASSIGN_OR_RETURN(const auto response, Send(context, request));
  return response.ok();
}

Result<std::string> RepositoryWriter::LocationOf(const HttpResponse& response) const {
  ASSIGN_OR_RETURN(std::string url, ResolveUrl(response.url, response.Header("location")),
                   "the registry's Location");
  ASSIGN_OR_RETURN(const Origin origin, OriginOf(url), "the registry's Location");
  if (scope_.endpoint.base_url.starts_with("https://") && origin.scheme != "https") {
    return Error(Code::kFailedPrecondition,
                 StrCat("the registry wants the blob without TLS, at ", UrlForMessage(url)));
  }
  return url;
}

Result<std::string> RepositoryWriter::BeginUpload(const Context& context) {
  HttpRequest request;
  request.method = "POST";
  request.url = UrlIn(scope_, "blobs/uploads/");
  ASSIGN_OR_RETURN(const auto response, Send(context, request));
  if (!response.ok()) return StatusError(request, response);
  return LocationOf(response);
}

Status RepositoryWriter::EndUpload(const Context& context, const std::string& location,
                                   const std::string& digest, std::string last_piece) {
  HttpRequest request;
  request.method = "PUT";
  request.url =
      StrCat(location, location.find('?') == std::string::npos ? "?" : "&", "digest=", digest);
  request.headers = {{"Content-Type", kBytesType}};
  request.body = std::move(last_piece);
  ASSIGN_OR_RETURN(const auto response, Send(context, request));
  return response.ok() ? Ok() : Status(StatusError(request, response));
}

Status RepositoryWriter::PushBlob(const Context& context, const std::string& digest,
                                  const Source& source,
                                  const std::function<void(int64_t)>& on_bytes) {
  ASSIGN_OR_RETURN(std::string location, BeginUpload(context));
  HttpRequest piece;
  piece.method = "PATCH";
  int64_t sent = 0;
  auto flush = [&]() -> Status {
    if (piece.body.empty()) return Ok();
    const auto size = static_cast<int64_t>(piece.body.size());
    piece.url = location;
    piece.headers = {{"Content-Type", kBytesType},
                     {"Content-Range", StrCat(sent, "-", sent + size - 1)}};
    ASSIGN_OR_RETURN(const auto response, Send(context, piece));
    if (!response.ok()) return StatusError(piece, response);
    ASSIGN_OR_RETURN(location, LocationOf(response));
    sent += size;
    piece.body.clear();
    on_bytes(sent);
    return Ok();
  };
  auto collect = [&](std::string_view bytes) -> Status {
    while (!bytes.empty()) {
      const size_t part = std::min(bytes.size(), kPieceBytes - piece.body.size());
      piece.body.append(bytes.substr(0, part));
      bytes.remove_prefix(part);
      if (piece.body.size() == kPieceBytes) RETURN_IF_ERROR(flush());
    }
    return Ok();
  };
  RETURN_IF_ERROR(source(collect));
  RETURN_IF_ERROR(flush());
  return EndUpload(context, location, digest, "");
}

Status RepositoryWriter::PushBlob(const Context& context, const std::string& digest,
                                  const std::string& bytes) {
  ASSIGN_OR_RETURN(const std::string location, BeginUpload(context));
  return EndUpload(context, location, digest, bytes);
}

Status RepositoryWriter::PushManifest(const Context& context, const std::string& tag,
                                      const std::string& media_type, const std::string& bytes) {
  HttpRequest request;
  request.method = "PUT";
  request.url = UrlIn(scope_, StrCat("manifests/", tag));
  request.headers = {{"Content-Type", media_type}};
  request.body = bytes;
  ASSIGN_OR_RETURN(const auto response, Send(context, request));
  return response.ok() ? Ok() : Status(StatusError(request, response));
}

}  // namespace berth::image
