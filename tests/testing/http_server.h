// A small HTTP/1.1 server on a loopback port that answers as a test tells it to: also wrongly,
// slowly, partly or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace berth::testing {

struct ServerRequest {
  std::string method;
  std::string path;                            // without the query
  std::string query;                           // behind the '?'
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  std::string Header(const std::string& name) const {
    auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

struct ServerReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};  // Content-Length is added
  std::string body = {};
  std::optional<size_t> cut_after = {};    // of the body: the connection is then reset
  std::optional<size_t> stall_after = {};  // of the body: then silence until the client goes
  int64_t bytes_per_s = 0;                 // of the body; 0: as fast as it goes
  std::string raw = {};                    // if set: sent instead of everything else, then closed
};

struct TlsFiles {
  std::string certificate;  // PEM; also the CA file to trust it by
  std::string key;
  std::string client_ca = {};  // clients have to show a certificate that this PEM file vouches for
};
// A certificate for localhost and 127.0.0.1, signed by itself.
Result<TlsFiles> MakeCertificate(const std::string& directory,
                                 const std::string& name = "localhost");

// Answers every request with what the handler makes of it, on one thread per connection. The
// handler may be called from several threads at once. The destructor ends every connection and
// thread.
class HttpServer {
 public:
  using Handler = std::function<ServerReply(const ServerRequest&)>;

  static Result<std::unique_ptr<HttpServer>> Start(Handler handler);
  static Result<std::unique_ptr<HttpServer>> StartTls(Handler handler, const TlsFiles& files);
  ~HttpServer();

  std::string address() const;  // "127.0.0.1:4711"
  // Everything that has been asked so far.
  std::vector<ServerRequest> requests() const;
  // How many connections have been made so far.
  int connections() const;

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace berth::testing
