// HTTP for registries, over libcurl: blocking requests with a deadline, a cancellation, a stall
// timeout and caps, on kept-alive connections.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/client_certificate.h"

namespace berth::image {

// How a server is talked to, beyond what is usual. Immutable once requests have it.
struct HostOptions {
  bool skip_verify = false;
  std::string ca_pem;  // trusted beside the system's
  ClientCertificates client_certificates;
  std::vector<std::pair<std::string, std::string>> headers;
  int64_t dial_timeout_ms = 0;  // 0: 30 s
};

struct HttpClientOptions {
  int64_t stall_timeout_ms = 60'000;  // a transfer that moves nothing for so long has failed
};

struct HttpResponse {
  int status = 0;
  std::multimap<std::string, std::string> headers;  // names in lower case
  std::string body;         // empty if it went to a sink; of a failure, the first 4 KiB
  std::string url;          // that answered, after redirects
  bool redirected = false;  // to another origin

  bool ok() const { return status >= 200 && status < 300; }
  // The first one of that (lower-case) name, or "".
  std::string Header(const std::string& name) const;
  // All of them as one list: "a, b" (RFC 9110, 5.3).
  std::string HeaderList(const std::string& name) const;
};

// Is given the body of a 2xx answer as it arrives; may block. Its failure ends the request.
using BodySink = std::function<Status(const HttpResponse& head, std::string_view bytes)>;

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  // The Authorization header. Sent to the origin (scheme, host, port) of `url` only, whatever it
  // redirects to (CVE-2020-15157).
  std::string authorization;
  // Its client certificates and headers are for the origin of `url` only, too; whom it trusts is
  // trusted for redirects as well. None: the system's CAs.
  std::shared_ptr<const HostOptions> host;
  std::string body;
  BodySink sink;                    // none: the body is kept
  size_t max_body_bytes = 4 << 20;  // of a body that is kept; more is ResourceExhausted
  // If given, must outlive the request; once another thread sets it, the request is Cancelled.
  const std::atomic<bool>* abandon = nullptr;
};

// Thread-safe; each request runs on its caller's thread. Redirects of GET and HEAD are followed, at
// most 10, never from https to http. HTTP/2 is spoken where the server offers it (TLS only).
//
// Proxies are those of the process's environment when this was made: HTTP_PROXY, HTTPS_PROXY,
// ALL_PROXY and NO_PROXY, in either case (the lower one first); never for loopback.
//
// Errors name the method and the URL without its query (which may be a signature), never a header:
// Unavailable with errno ECONNREFUSED (no connection), ECONNRESET (it broke) or ETIMEDOUT
// (stalled), FailedPrecondition (TLS: the certificate, a downgrade), Cancelled and DeadlineExceeded
// by the context, InvalidArgument (URL), ResourceExhausted (a cap). An HTTP status is no error
// here.
class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options);
  ~HttpClient();

  Result<HttpResponse> Send(const Context& context, const HttpRequest& request);

 private:
  struct Pool;
  HttpClientOptions options_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace berth::image
