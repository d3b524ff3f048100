#include "image/http_client.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>

#include "base/sync.h"
#include "base/time.h"
#include "image/digest.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kMaxErrorBodyBytes = 4 << 10;
constexpr size_t kMaxIdleConnections = 8;
constexpr int64_t kMaxIdleNs = 30'000'000'000;
constexpr int64_t kConnectTimeoutMs = 30'000;
constexpr int kCancellationCheckMs = 100;

struct MultiFree {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct EasyFree {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// A multi handle owns a connection cache, which here never holds more than one connection: to the
// origin that it was last used for.
struct Connection {
  std::unique_ptr<CURLM, MultiFree> multi{curl_multi_init()};
  std::unique_ptr<CURL, EasyFree> easy{curl_easy_init()};
  int64_t idle_since_ns = 0;
};

// Connections are for one origin, and for those who trust and show the same.
std::string KeyOf(const Origin& origin, const HttpRequest& request, bool same_origin) {
  const HostOptions* host = request.host.get();
  std::string key = StrCat(origin.scheme, "://", origin.host, ":", origin.port);
  if (host == nullptr || origin.scheme == "http") return key;
  key += StrCat("|", host->skip_verify, "|", DigestOf(host->ca_pem));
  if (same_origin) key += StrCat("|", host->client_certificates.Fingerprint());
  return key;
}

// Of the environment, by the conventions of libcurl and Go. libcurl itself would not read
// HTTP_PROXY, which a CGI's client can set; nobody sets a daemon's.
struct Proxies {
  std::string http, https, except;

  static Proxies OfEnvironment() {
    auto either = [](const char* lower, const char* upper) {
      for (const char* name : {lower, upper}) {
        const char* value = getenv(name);
        if (value != nullptr && *value != 0) return std::string(value);
      }
      return std::string();
    };
    const std::string all = either("all_proxy", "ALL_PROXY");
    Proxies out{either("http_proxy", "HTTP_PROXY"), either("https_proxy", "HTTPS_PROXY"),
                either("no_proxy", "NO_PROXY")};
    if (out.http.empty()) out.http = all;
    if (out.https.empty()) out.https = all;
    return out;
  }
};

// That of one request; both may be empty.
struct Proxy {
  std::string url, except;
};

Proxy ProxyFor(const Proxies& proxies, const Origin& origin) {
  if (IsLoopbackHost(origin.host)) return {};
  return {origin.scheme == "http" ? proxies.http : proxies.https, proxies.except};
}

// libcurl opens sockets without close-on-exec, and the daemon starts other programs meanwhile.
curl_socket_t OpenSocket(void*, curlsocktype, curl_sockaddr* address) {
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// One request to one URL: libcurl's callbacks, and what came of them.
class Exchange {
 public:
  Exchange(CURL* easy, const HttpRequest& request, HttpResponse* response, int64_t stall_ms)
      : easy_(easy), request_(request), response_(*response), stall_ms_(stall_ms) {
    Touch();
  }
  ~Exchange() { curl_easy_reset(easy_); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void Prepare(const std::string& url, bool same_origin, const Proxy& proxy);
  // Drives the transfer to its end.
  Status Run(const Context& context, CURLM* multi);

 private:
  void SetHeaders(bool same_origin);
  void SetTls(bool same_origin);
  Status Drive(const Context& context, CURLM* multi);
  Status Verdict(CURLcode code);
  bool stalled() const { return MonotonicNs() - last_activity_ns_ > stall_ms_ * 1'000'000; }
  void Touch() { last_activity_ns_ = MonotonicNs(); }

  size_t TakeHeader(std::string_view line);
  size_t TakeBody(std::string_view bytes);
  static size_t OnHeader(char* data, size_t size, size_t count, void* self) {
    return static_cast<Exchange*>(self)->TakeHeader({data, size * count});
  }
  static size_t OnBody(char* data, size_t size, size_t count, void* self) {
    return static_cast<Exchange*>(self)->TakeBody({data, size * count});
  }
  static int OnProgress(void* data, curl_off_t, curl_off_t received, curl_off_t, curl_off_t sent);

  CURL* easy_;
  const HttpRequest& request_;
  HttpResponse& response_;
  int64_t stall_ms_;
  std::unique_ptr<curl_slist, ListFree> header_list_;
  char error_text_[CURL_ERROR_SIZE] = "";
  std::optional<Error> failure_;  // what a callback has to say; libcurl only knows that it refused
  bool enough_ = false;           // of the body of a failure
  size_t header_bytes_ = 0;
  curl_off_t moved_ = 0;
  int64_t last_activity_ns_ = 0;
};

void Exchange::SetHeaders(bool same_origin) {
  auto add = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(header_list_.get(), line.c_str());
    (void)header_list_.release();
    header_list_.reset(longer);
  };
  for (const auto& [name, value] : request_.headers) add(StrCat(name, ": ", value));
  if (same_origin && request_.host != nullptr) {
    for (const auto& [name, value] : request_.host->headers) {
      if (!request_.authorization.empty() && ToLower(name) == "authorization") continue;
      // libcurl takes a colon with nothing behind it for the wish to send no such header.
      add(value.empty() ? StrCat(name, ";") : StrCat(name, ": ", value));
    }
  }
  if (same_origin && !request_.authorization.empty()) {
    add(StrCat("Authorization: ", request_.authorization));
  }
  add("Expect:");  // no "100-continue" round trip before a body
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, header_list_.get());
}

CURLcode UseClientCertificates(CURL*, void* context, void* certificates) {
  static_cast<const ClientCertificates*>(certificates)->Use(static_cast<SSL_CTX*>(context));
  return CURLE_OK;
}

void Exchange::SetTls(bool same_origin) {
  const HostOptions* host = request_.host.get();
  if (host == nullptr) return;
  if (host->skip_verify) {
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!host->ca_pem.empty()) {
    // The system's are found by CURLOPT_CAPATH, whose default stays.
    curl_blob pem{const_cast<char*>(host->ca_pem.data()), host->ca_pem.size(), CURL_BLOB_NOCOPY};
    curl_easy_setopt(easy_, CURLOPT_CAINFO_BLOB, &pem);
  }
  if (same_origin && !host->client_certificates.empty()) {
    curl_easy_setopt(easy_, CURLOPT_SSL_CTX_FUNCTION, UseClientCertificates);
    curl_easy_setopt(easy_, CURLOPT_SSL_CTX_DATA, &host->client_certificates);
  }
}

void Exchange::Prepare(const std::string& url, bool same_origin, const Proxy& proxy) {
  curl_easy_setopt(easy_, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, "berth/0.1");
  curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, 256L << 10);
  const int64_t dial_ms = request_.host == nullptr ? 0 : request_.host->dial_timeout_ms;
  curl_easy_setopt(
      easy_, CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(std::min(stall_ms_, dial_ms > 0 ? dial_ms : kConnectTimeoutMs)));
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETFUNCTION, OpenSocket);
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error_text_);
  curl_easy_setopt(easy_, CURLOPT_PROXY, proxy.url.c_str());
  curl_easy_setopt(easy_, CURLOPT_NOPROXY, proxy.except.c_str());
  SetTls(same_origin);
  SetHeaders(same_origin);
  if (request_.method == "HEAD") {
    curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
  } else if (request_.method != "GET") {
    curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request_.body.data());
  }
  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(easy_, CURLOPT_XFERINFODATA, this);
  curl_easy_setopt(easy_, CURLOPT_NOPROGRESS, 0L);
}

size_t Exchange::TakeHeader(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes) {
    failure_.emplace(Code::kResourceExhausted,
                     StrCat("the header is larger than ", kMaxHeaderBytes, " bytes"));
    return 0;
  }
  // A status line begins a new header: that of the answer after a "100 Continue".
  if (line.starts_with("HTTP/")) response_.headers.clear();
  if (size_t colon = line.find(':'); colon != std::string_view::npos) {
    response_.headers.emplace(ToLower(line.substr(0, colon)),
                              std::string(Trim(line.substr(colon + 1))));
  }
  return line.size();
}

size_t Exchange::TakeBody(std::string_view bytes) {
  if (response_.status == 0) {
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
  }
  if (!response_.ok()) {
    response_.body.append(bytes.substr(0, kMaxErrorBodyBytes - response_.body.size()));
    enough_ = response_.body.size() >= kMaxErrorBodyBytes;
    return enough_ ? 0 : bytes.size();
  }
  if (request_.sink) {
    Status status = request_.sink(response_, bytes);
    Touch();  // whatever time the sink took was not the registry's
    if (!status.ok()) {
      failure_ = std::move(status).error();
      return 0;
    }
    return bytes.size();
  }
  if (response_.body.size() + bytes.size() > request_.max_body_bytes) {
    failure_.emplace(Code::kResourceExhausted,
                     StrCat("the answer is larger than ", request_.max_body_bytes, " bytes"));
    return 0;
  }
  response_.body.append(bytes);
  return bytes.size();
}

int Exchange::OnProgress(void* data, curl_off_t, curl_off_t received, curl_off_t, curl_off_t sent) {
  auto* self = static_cast<Exchange*>(data);
  curl_off_t moved = received + sent + static_cast<curl_off_t>(self->header_bytes_);
  if (moved != self->moved_) self->Touch();
  self->moved_ = moved;
  return 0;
}

Status Exchange::Verdict(CURLcode code) {
  if (failure_.has_value()) return *failure_;
  if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && enough_)) return Ok();
  std::string text = Printable(*error_text_ != 0 ? error_text_ : curl_easy_strerror(code));
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return Error(Code::kUnavailable, StrCat("cannot connect: ", text), ECONNREFUSED);
    case CURLE_OPERATION_TIMEDOUT:
      return Error(Code::kUnavailable, StrCat("timeout: ", text), ETIMEDOUT);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return Error(Code::kFailedPrecondition, StrCat("TLS: ", text));
    default:
      return Error(Code::kUnavailable, StrCat("connection broken: ", text), ECONNRESET);
  }
}

Status Exchange::Drive(const Context& context, CURLM* multi) {
  while (true) {
    int running = 0;
    if (curl_multi_perform(multi, &running) != CURLM_OK) {
      return Error(Code::kInternal, "curl_multi_perform");
    }
    int left = 0;
    if (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      return Verdict(message->data.result);
    }
    RETURN_IF_ERROR(context.Check("transfer"));
    if (request_.abandon != nullptr && *request_.abandon) {
      return Error(Code::kCancelled, "transfer: cancelled");
    }
    if (stalled()) {
      return Error(Code::kUnavailable, StrCat("timeout: nothing came for ", stall_ms_, " ms"),
                   ETIMEDOUT);
    }
    curl_multi_poll(multi, nullptr, 0, std::min(kCancellationCheckMs, context.RemainingMs()),
                    nullptr);
  }
}

Status Exchange::Run(const Context& context, CURLM* multi) {
  curl_multi_add_handle(multi, easy_);
  Status status = Drive(context, multi);
  long code = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &code);
  response_.status = static_cast<int>(code);
  curl_multi_remove_handle(multi, easy_);
  return status;
}

bool IsRedirect(int status) {
  constexpr std::array<int, 5> kRedirects = {301, 302, 303, 307, 308};
  return std::find(kRedirects.begin(), kRedirects.end(), status) != kRedirects.end();
}

}  // namespace

std::string HttpResponse::Header(const std::string& name) const {
  auto it = headers.find(name);
  return it == headers.end() ? "" : it->second;
}

std::string HttpResponse::HeaderList(const std::string& name) const {
  std::vector<std::string> values;
  auto [begin, end] = headers.equal_range(name);
  for (auto it = begin; it != end; ++it) values.push_back(it->second);
  return Join(values, ", ");
}

struct HttpClient::Pool {
  const Proxies proxies = Proxies::OfEnvironment();
  Mutex mutex;
  std::multimap<std::string, Connection> idle GUARDED_BY(mutex);

  Connection Take(const std::string& key) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    int64_t oldest = MonotonicNs() - kMaxIdleNs;
    std::erase_if(idle, [&](const auto& entry) { return entry.second.idle_since_ns < oldest; });
    auto found = idle.find(key);
    if (found == idle.end()) return {};
    Connection connection = std::move(found->second);
    idle.erase(found);
    return connection;
  }

  void Return(const std::string& key, Connection connection) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    if (idle.size() >= kMaxIdleConnections) return;
    connection.idle_since_ns = MonotonicNs();
    idle.emplace(key, std::move(connection));
  }

  // One request without its redirects.
  Status SendOnce(const Context& context, const HttpClientOptions& options,
                  const HttpRequest& request, bool same_origin, HttpResponse* response) {
    ASSIGN_OR_RETURN(Origin origin, OriginOf(response->url));
    const std::string key = KeyOf(origin, request, same_origin);
    Connection connection = Take(key);
    Status status;
    {
      Exchange exchange(connection.easy.get(), request, response, options.stall_timeout_ms);
      exchange.Prepare(response->url, same_origin, ProxyFor(proxies, origin));
      status = exchange.Run(context, connection.multi.get());
    }
    // A transfer that was broken off has closed its connection; the handles would be of no use.
    if (status.ok()) Return(key, std::move(connection));
    return status;
  }
};

HttpClient::HttpClient(HttpClientOptions options)
    : options_(options), pool_(std::make_unique<Pool>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

HttpClient::~HttpClient() = default;

Result<HttpResponse> HttpClient::Send(const Context& context, const HttpRequest& request) {
  ASSIGN_OR_RETURN(const Origin first, OriginOf(request.url));
  const bool may_redirect = request.method == "GET" || request.method == "HEAD";
  std::string url = request.url;
  Origin previous = first;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    HttpResponse response;
    response.url = url;
    response.redirected = previous != first;
    RETURN_IF_ERROR(pool_->SendOnce(context, options_, request, previous == first, &response),
                    request.method, " ", UrlForMessage(url));
    std::string location = response.Header("location");
    if (!may_redirect || !IsRedirect(response.status) || location.empty()) return response;
    ASSIGN_OR_RETURN(url, ResolveUrl(url, location), "redirect from ", UrlForMessage(response.url));
    ASSIGN_OR_RETURN(Origin next, OriginOf(url), "redirect from ", UrlForMessage(response.url));
    if (previous.scheme == "https" && next.scheme == "http") {
      return Error(Code::kFailedPrecondition,
                   StrCat("TLS: refusing the redirect from ", UrlForMessage(response.url),
                          " to plain ", UrlForMessage(url)));
    }
    previous = next;
  }
  return Error(Code::kUnavailable, StrCat(request.method, " ", UrlForMessage(request.url),
                                          ": more than ", kMaxRedirects, " redirects"));
}

}  // namespace berth::image
