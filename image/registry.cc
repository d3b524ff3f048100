#include "image/registry.h"

#include <algorithm>
#include <array>

#include "base/json.h"
#include "image/digest.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr int kRetries = 2;
constexpr int kMaxResumptions = 20;
constexpr int64_t kFirstPauseMs = 200;
constexpr int64_t kMaxPauseMs = 10'000;

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  auto parts = Split(host, '.');
  return parts.size() == 4 && parts[0] == "127" &&
         std::all_of(parts.begin(), parts.end(),
                     [](std::string_view part) { return ParseNumber<uint8_t>(part).has_value(); });
}

Status Sleep(const Context& context, int64_t ms) {
  (void)context.Timeout(ms).Poll(-1, 0, "wait");
  return context.Check("wait to try again");
}

int64_t PauseMs(int attempt, const HttpResponse* response) {
  int64_t pause = kFirstPauseMs << attempt;
  if (response != nullptr) {
    if (auto seconds = ParseNumber<uint32_t>(response->Header("retry-after"))) {
      pause = int64_t{*seconds} * 1000;
    }
  }
  return std::min(pause, kMaxPauseMs);
}

bool IsBrokenConnection(const Error& error) {
  return error.code() == Code::kUnavailable && error.sys_errno() == ECONNRESET;
}
bool IsStall(const Error& error) {
  return error.code() == Code::kUnavailable && error.sys_errno() == ETIMEDOUT;
}

Code CodeOf(int status) {
  switch (status) {
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    default:
      return status == 429 || status >= 500 ? Code::kUnavailable : Code::kUnknown;
  }
}

// "MANIFEST_UNKNOWN: manifest unknown", or "" if the body is not the specification's error.
std::string ReasonIn(std::string_view body) {
  auto json = ParseJson(body);
  if (!json.ok() || !json->is_object()) return "";
  auto errors = json->find("errors");
  if (errors == json->end() || !errors->is_array() || errors->empty()) return "";
  std::string code = JsonString(errors->front(), "code").ok() ? *JsonString(errors->front(), "code")
                                                              : std::string();
  auto message = JsonString(errors->front(), "message");
  return Printable(StrCat(code, ": ", message.ok() ? *message : ""), 200);
}

std::string ManifestPath(const std::string& tag_or_digest) {
  return StrCat("manifests/", tag_or_digest);
}

}  // namespace

HttpClientOptions ClientOptions(const std::vector<RegistryHost>& hosts, int64_t stall_timeout_ms) {
  HttpClientOptions out;
  out.stall_timeout_ms = stall_timeout_ms;
  for (const RegistryHost& host : hosts) {
    out.tls[ToLower(host.host)] = {host.skip_verify, host.ca_file};
  }
  return out;
}

std::string BaseUrlOf(std::string_view domain, const std::vector<RegistryHost>& hosts) {
  std::string_view address = domain == "docker.io" ? "registry-1.docker.io" : domain;
  bool plain = IsLoopback(HostOf(domain));
  for (const RegistryHost& host : hosts) {
    if (ToLower(host.host) == ToLower(domain)) plain = host.plain_http;
  }
  return StrCat(plain ? "http://" : "https://", address);
}

Repository::Repository(HttpClient& http, Authorizer& authorizer, std::string base_url,
                       std::string repository, Credentials credentials)
    : http_(http),
      authorizer_(authorizer),
      scope_{std::move(base_url), std::move(repository), std::move(credentials)} {}

Error StatusError(const HttpRequest& request, const HttpResponse& response) {
  std::string reason = ReasonIn(response.body);
  return {CodeOf(response.status),
          StrCat(request.method, " ", UrlForMessage(response.url), ": the registry answered ",
                 response.status, reason.empty() ? "" : ": ", reason)};
}

Result<HttpResponse> Repository::SendAuthorized(const Context& context, HttpRequest request) {
  request.authorization = authorizer_.Known(scope_);
  ASSIGN_OR_RETURN(auto response, http_.Send(context, request));
  if (response.status != 401) return response;
  ASSIGN_OR_RETURN(Origin answered, OriginOf(response.url));
  ASSIGN_OR_RETURN(Origin registry, OriginOf(request.url));
  // Whoever it was redirected to may not ask for the registry's credentials.
  if (answered != registry) return response;
  ASSIGN_OR_RETURN(request.authorization,
                   authorizer_.Answer(context, scope_, response.HeaderList("www-authenticate")),
                   request.method, " ", UrlForMessage(request.url));
  return http_.Send(context, request);
}

Result<HttpResponse> Repository::Send(const Context& context, HttpRequest request,
                                      const bool* started) {
  request.url = StrCat(scope_.base_url, "/v2/", scope_.repository, "/", request.url);
  for (int attempt = 0;; ++attempt) {
    auto response = SendAuthorized(context, request);
    const bool may_retry = attempt < kRetries && (started == nullptr || !*started);
    if (!response.ok()) {
      if (!may_retry || !IsBrokenConnection(response.error())) return response;
      RETURN_IF_ERROR(Sleep(context, PauseMs(attempt, nullptr)));
      continue;
    }
    if (response->ok()) return response;
    if (!may_retry || CodeOf(response->status) != Code::kUnavailable) {
      return StatusError(request, *response);
    }
    RETURN_IF_ERROR(Sleep(context, PauseMs(attempt, &*response)));
  }
}

Result<std::string> Repository::Resolve(const Context& context, const std::string& tag_or_digest) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = ManifestPath(tag_or_digest);
  request.headers = {{"Accept", kManifestAccept}};
  ASSIGN_OR_RETURN(auto response, Send(context, std::move(request), nullptr));
  std::string digest = response.Header("docker-content-digest");
  return IsDigest(digest) ? digest : "";
}

Result<RawManifest> Repository::GetManifest(const Context& context,
                                            const std::string& tag_or_digest) {
  HttpRequest request;
  request.url = ManifestPath(tag_or_digest);
  request.headers = {{"Accept", kManifestAccept}};
  request.max_body_bytes = kMaxDocumentBytes;
  ASSIGN_OR_RETURN(auto response, Send(context, std::move(request), nullptr));
  RawManifest out{std::move(response.body), response.Header("content-type"), ""};
  out.digest = DigestOf(out.bytes);
  std::string claimed = response.Header("docker-content-digest");
  for (const std::string& wanted : {IsDigest(tag_or_digest) ? tag_or_digest : "", claimed}) {
    if (!wanted.empty() && wanted != out.digest) {
      return Error(Code::kDataLoss,
                   StrCat("GET ", UrlForMessage(response.url), ": the manifest is ", out.digest,
                          " and not ", Printable(wanted, 100)));
    }
  }
  return out;
}

Result<std::string> Repository::GetBlob(const Context& context, const Descriptor& blob) {
  std::string out;
  RETURN_IF_ERROR(StreamBlob(context, blob, [&](std::string_view bytes) {
    out.append(bytes);
    return Ok();
  }));
  if (std::string digest = DigestOf(out); digest != blob.digest) {
    return Error(Code::kDataLoss,
                 StrCat("blob ", blob.digest, ": the registry sent ", digest, " instead"));
  }
  return out;
}

// Where a blob's transfer is, over all the connections that it takes.
class Repository::BlobTransfer {
 public:
  BlobTransfer(const Descriptor& blob, const BlobSink& sink) : blob_(blob), sink_(sink) {}

  HttpRequest Request() {
    HttpRequest request;
    request.url = StrCat("blobs/", blob_.digest);
    if (received_ > 0) {
      request.headers.emplace_back("Range", StrCat("bytes=", received_, "-"));
    }
    started_ = false;
    skip_ = 0;
    request.sink = [this](const HttpResponse& head, std::string_view bytes) {
      return Take(head, bytes);
    };
    return request;
  }

  const bool* started() const { return &started_; }
  bool sink_failed() const { return sink_failed_; }
  int64_t received() const { return received_; }

 private:
  // A server that ignores the range begins again: what is known is skipped.
  Status Begin(const HttpResponse& head) {
    if (received_ == 0 || head.status != 206) {
      skip_ = received_;
      return Ok();
    }
    if (head.Header("content-range").starts_with(StrCat("bytes ", received_, "-"))) return Ok();
    return Wrong(StrCat("the range ", Printable(head.Header("content-range"), 80),
                        " is not the one asked for"));
  }

  Status Take(const HttpResponse& head, std::string_view bytes) {
    if (!started_) RETURN_IF_ERROR(Begin(head));
    started_ = true;
    size_t known = std::min(bytes.size(), static_cast<size_t>(skip_));
    skip_ -= static_cast<int64_t>(known);
    bytes.remove_prefix(known);
    if (bytes.empty()) return Ok();
    if (static_cast<int64_t>(bytes.size()) > blob_.size - received_) {
      return Wrong(StrCat("it is larger than the ", blob_.size, " bytes of the manifest"));
    }
    received_ += static_cast<int64_t>(bytes.size());
    Status status = sink_(bytes);
    sink_failed_ = !status.ok();
    return status;
  }

  Error Wrong(std::string_view why) const {
    return {Code::kDataLoss, StrCat("blob ", blob_.digest, ": ", why)};
  }

  const Descriptor& blob_;
  const BlobSink& sink_;
  int64_t received_ = 0;
  int64_t skip_ = 0;
  bool started_ = false;  // this connection has brought something
  bool sink_failed_ = false;
};

Status Repository::StreamBlob(const Context& context, const Descriptor& blob,
                              const BlobSink& sink) {
  BlobTransfer transfer(blob, sink);
  for (int resumption = 0;; ++resumption) {
    const int64_t before = transfer.received();
    auto response = Send(context, transfer.Request(), transfer.started());
    if (response.ok()) break;
    const Error& error = response.error();
    const bool progress = transfer.received() > before;
    if (transfer.sink_failed() || !progress || resumption == kMaxResumptions ||
        !(IsBrokenConnection(error) || IsStall(error))) {
      // What the server cut short is lost data, even if it looks like a broken connection.
      if (transfer.received() > 0 && IsBrokenConnection(error)) {
        return Error(Code::kDataLoss,
                     StrCat("blob ", blob.digest, ": truncated at ", transfer.received(), " of ",
                            blob.size, " bytes: ", error.message()));
      }
      return std::move(response).error();
    }
    RETURN_IF_ERROR(Sleep(context, kFirstPauseMs));
  }
  if (transfer.received() == blob.size) return Ok();
  return Error(Code::kDataLoss, StrCat("blob ", blob.digest, ": truncated at ", transfer.received(),
                                       " of ", blob.size, " bytes"));
}

}  // namespace berth::image
