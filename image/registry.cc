#include "image/registry.h"

#include <curl/curl.h>

#include <algorithm>
#include <random>

#include "base/json.h"
#include "base/time.h"
#include "image/digest.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr int kRetries = 2;
constexpr int kConnections = 4;  // for one large blob
constexpr int kMaxResumptions = 20;
constexpr int kMaxBarren = 2;  // resumptions in a row that brought nothing
constexpr int64_t kFirstPauseMs = 200;
constexpr int64_t kMaxPauseMs = 10'000;
constexpr int64_t kMaxRetryAfterMs = 30'000;

Status Sleep(const Context& context, int64_t ms) {
  (void)context.Timeout(ms).Poll(-1, 0, "wait");
  return context.Check("wait to try again");
}

// The n-th pause (from 0): doubled each time, and between half of it and the whole, so that many
// nodes do not come back at once.
int64_t PauseMs(int n) {
  thread_local std::minstd_rand random(std::random_device{}());
  const int64_t whole = std::min(kFirstPauseMs << n, kMaxPauseMs);
  return whole / 2 + static_cast<int64_t>(random()) % (whole / 2 + 1);
}

// What the server asks for, in seconds or as a date (RFC 9110, 10.2.3); -1 if it asks for nothing.
int64_t RetryAfterMs(const HttpResponse& response) {
  const std::string text = response.Header("retry-after");
  if (auto seconds = ParseNumber<uint32_t>(text)) return int64_t{*seconds} * 1000;
  const time_t date = text.empty() ? -1 : curl_getdate(text.c_str(), nullptr);
  if (date < 0) return -1;
  return std::max<int64_t>(0, int64_t{date} * 1000 - WallNs() / 1'000'000);
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

bool IsUnreachable(const Error& error) {
  return error.code() == Code::kUnavailable &&
         (error.sys_errno() == ECONNREFUSED || error.sys_errno() == ETIMEDOUT);
}

// What several servers have said, as one error.
Error Combined(const std::vector<Error>& errors) {
  if (errors.empty()) {
    return {Code::kFailedPrecondition,
            "no server of this registry may be asked (capabilities in hosts.toml)"};
  }
  std::vector<std::string> messages;
  messages.reserve(errors.size());
  for (const Error& error : errors) messages.push_back(error.message());
  return {errors.back().code(), Join(messages, "; then "), errors.back().sys_errno()};
}

}  // namespace

Repository::Repository(HttpClient& http, Authorizer& authorizer, std::vector<AuthScope> routes,
                       RangeSlots* slots)
    : http_(http), authorizer_(authorizer), slots_(slots) {
  for (AuthScope& scope : routes) {
    routes_.push_back(std::make_unique<Route>());
    routes_.back()->scope = std::move(scope);
  }
}

std::string UrlIn(const AuthScope& scope, std::string_view path) {
  const std::string& query = scope.endpoint.query;
  return StrCat(scope.endpoint.base_url, "/", scope.repository, "/", path, query.empty() ? "" : "?",
                query);
}

Error StatusError(const HttpRequest& request, const HttpResponse& response) {
  std::string reason = ReasonIn(response.body);
  return {CodeOf(response.status),
          StrCat(request.method, " ", UrlForMessage(response.url), ": the registry answered ",
                 response.status, reason.empty() ? "" : ": ", reason)};
}

Result<HttpResponse> Repository::SendAuthorized(const Context& context, const AuthScope& scope,
                                                HttpRequest request) {
  request.authorization = authorizer_.Known(scope);
  ASSIGN_OR_RETURN(auto response, http_.Send(context, request));
  if (response.status != 401) return response;
  ASSIGN_OR_RETURN(Origin answered, OriginOf(response.url));
  ASSIGN_OR_RETURN(Origin registry, OriginOf(request.url));
  // Whoever it was redirected to may not ask for the registry's credentials.
  if (answered != registry) return response;
  ASSIGN_OR_RETURN(request.authorization,
                   authorizer_.Answer(context, scope, response.HeaderList("www-authenticate")),
                   request.method, " ", UrlForMessage(request.url));
  return http_.Send(context, request);
}

Result<HttpResponse> Repository::Send(const Context& context, const AuthScope& scope,
                                      HttpRequest request, const bool* started) {
  request.url = UrlIn(scope, request.url);
  request.host = scope.endpoint.options;
  for (int attempt = 0;; ++attempt) {
    auto response = SendAuthorized(context, scope, request);
    const bool may_retry = attempt < kRetries && (started == nullptr || !*started);
    if (!response.ok()) {
      const Error& error = response.error();
      const bool passes = IsBrokenConnection(error) || (IsStall(error) && attempt == 0);
      if (!may_retry || !passes) return response;
      RETURN_IF_ERROR(Sleep(context, PauseMs(attempt)));
      continue;
    }
    if (response->ok()) return response;
    const int64_t asked_ms = RetryAfterMs(*response);
    if (!may_retry || CodeOf(response->status) != Code::kUnavailable ||
        asked_ms > kMaxRetryAfterMs) {
      Error error = StatusError(request, *response);
      if (asked_ms <= kMaxRetryAfterMs) return error;
      return Error(error.code(),
                   StrCat(error.message(), " (try again in ", asked_ms / 1000, " s)"));
    }
    RETURN_IF_ERROR(Sleep(context, std::max(asked_ms, PauseMs(attempt))));
  }
}

std::vector<Repository::Route*> Repository::RoutesWith(Capability capability) const {
  std::vector<Route*> all;
  std::vector<Route*> good;
  for (const auto& route : routes_) {
    if (!(route->scope.endpoint.*capability)) continue;
    all.push_back(route.get());
    if (!route->avoided) good.push_back(route.get());
  }
  return good.empty() ? all : good;
}

template <typename T>
Result<T> Repository::AskInOrder(const Context& context, Capability capability,
                                 const std::function<Result<T>(const AuthScope&)>& ask) {
  std::vector<Error> errors;
  for (Route* route : RoutesWith(capability)) {
    auto answer = ask(route->scope);
    if (answer.ok() || !context.Check("ask the registry").ok()) return answer;
    if (IsUnreachable(answer.error())) route->avoided = true;
    errors.push_back(std::move(answer).error());
  }
  return Combined(errors);
}

Result<std::string> Repository::Resolve(const Context& context, const std::string& tag_or_digest) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = ManifestPath(tag_or_digest);
  request.headers = {{"Accept", kManifestAccept}};
  return AskInOrder<std::string>(
      context, &RegistryEndpoint::resolve, [&](const AuthScope& scope) -> Result<std::string> {
        ASSIGN_OR_RETURN(auto response, Send(context, scope, request, nullptr));
        std::string digest = response.Header("docker-content-digest");
        return IsDigest(digest) ? digest : "";
      });
}

// A server that may give manifests but not say what a tag is, or the other way round.
bool Repository::NeedsResolve() const {
  return std::any_of(routes_.begin(), routes_.end(), [](const auto& route) {
    return route->scope.endpoint.pull != route->scope.endpoint.resolve;
  });
}

Result<RawManifest> Repository::GetManifest(const Context& context,
                                            const std::string& tag_or_digest) {
  std::string name = tag_or_digest;
  if (!IsDigest(name) && NeedsResolve()) {
    ASSIGN_OR_RETURN(const std::string digest, Resolve(context, name));
    if (!digest.empty()) name = digest;
  }
  return AskInOrder<RawManifest>(
      context, IsDigest(name) ? &RegistryEndpoint::pull : &RegistryEndpoint::resolve,
      [&](const AuthScope& scope) { return GetManifestFrom(context, scope, name); });
}

Result<RawManifest> Repository::GetManifestFrom(const Context& context, const AuthScope& scope,
                                                const std::string& tag_or_digest) {
  HttpRequest request;
  request.url = ManifestPath(tag_or_digest);
  request.headers = {{"Accept", kManifestAccept}};
  request.max_body_bytes = kMaxDocumentBytes;
  ASSIGN_OR_RETURN(auto response, Send(context, scope, std::move(request), nullptr));
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
  // A page of some proxy, perhaps: the next server may have the manifest.
  auto json = ParseJson(out.bytes);
  if (json.ok() && json->is_object()) return out;
  return Error(Code::kDataLoss, StrCat("GET ", UrlForMessage(response.url),
                                       ": the answer is no manifest: not a JSON object"));
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

// A failure leaves the transfer where it is, and nothing that Transfer() would not meet as well.
Status Repository::TransferRanges(const Context& context, Route& route, BlobTransfer& transfer) {
  const int slots = slots_->Take(kConnections);
  if (slots == 0) return Ok();
  const AuthScope& scope = route.scope;
  RangeTransfer ranges(
      [&](HttpRequest request) {
        const bool once = true;  // RangeTransfer repeats what may be repeated
        return Send(context, scope, std::move(request), &once);
      },
      [&](HttpRequest request) -> Result<HttpResponse> {
        request.host = OptionsFor(scope.endpoint, request.url);
        ASSIGN_OR_RETURN(auto response, http_.Send(context, request));
        if (!response.ok()) return StatusError(request, response);
        return response;
      });
  auto known = ranges.Run(context, transfer, slots);
  slots_->Return(slots);
  if (known.ok() && !*known) route.no_ranges = true;
  return transfer.sink_status();
}

Status Repository::Transfer(const Context& context, Route& route, BlobTransfer& transfer) {
  const int64_t missing = transfer.blob().size - transfer.received();
  bool probe = slots_ != nullptr && !route.no_ranges &&
               missing >= BlobTransfer::kProbeBytes + RangeTransfer::kMinBytes;
  int barren = 0;
  for (int resumption = 0; !transfer.complete(); ++resumption) {
    const int64_t before = transfer.received();
    auto response = Send(context, route.scope, transfer.Request(probe), transfer.started());
    if (transfer.complete()) break;
    probe = false;
    if (transfer.is_starved()) {
      RETURN_IF_ERROR(TransferRanges(context, route, transfer));
      continue;
    }
    const bool cut = response.ok() || IsBrokenConnection(response.error());
    RETURN_IF_ERROR(transfer.sink_status());
    if (!response.ok() && transfer.received() == 0) {
      return std::move(response).error();
    }
    barren = transfer.received() > before ? 0 : barren + 1;
    const bool may_pass = cut || response.code() == Code::kUnavailable;
    if (resumption == kMaxResumptions || barren == kMaxBarren || !may_pass) {
      if (!cut) return response.error();
      // What the server cut short is lost data, even if it looks like a broken connection.
      const std::string cause = response.ok() ? "" : StrCat(": ", response.error().message());
      return Error(Code::kDataLoss, StrCat("truncated at ", transfer.received(), " of ",
                                           transfer.blob().size, " bytes", cause));
    }
    RETURN_IF_ERROR(Sleep(context, PauseMs(barren)));
  }
  return Ok();
}

Status Repository::StreamBlob(const Context& context, const Descriptor& blob,
                              const BlobSink& sink) {
  BlobTransfer transfer(blob, sink);
  std::vector<Error> errors;
  for (Route* route : RoutesWith(&RegistryEndpoint::pull)) {
    const int64_t before = transfer.received();
    Status status = Transfer(context, *route, transfer);
    if (transfer.received() > before) {
      MutexLock lock(mutex_);
      sources_[blob.digest].insert(route);
    }
    if (status.ok() || !transfer.sink_status().ok() || !context.Check("transfer").ok())
      return status;
    if (IsUnreachable(status.error())) route->avoided = true;
    errors.push_back(std::move(status).error().Wrap(
        StrCat("blob ", blob.digest, " from ", route->scope.endpoint.host)));
  }
  return Combined(errors);
}

bool Repository::Distrust(const std::string& digest) {
  std::set<Route*> sources;
  {
    MutexLock lock(mutex_);
    sources.swap(sources_[digest]);
  }
  auto is_mirror = [](const Route* route) { return route->scope.endpoint.is_mirror; };
  // Of several, the registry itself is the least likely to be wrong.
  const bool any_mirror = std::any_of(sources.begin(), sources.end(), is_mirror);
  bool changed = false;
  for (Route* route : sources) {
    if (!any_mirror || is_mirror(route)) changed = !route->avoided.exchange(true) || changed;
  }
  return changed && std::any_of(routes_.begin(), routes_.end(), [](const auto& route) {
           return route->scope.endpoint.pull && !route->avoided;
         });
}

}  // namespace berth::image
