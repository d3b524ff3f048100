// How a registry is convinced to answer: the challenge of a 401, Basic, and the Bearer token flow
// of the distribution project (distribution/spec/auth/token).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "base/sync.h"
#include "image/http_client.h"

namespace berth::image {

// Credentials of one pull (CRI AuthConfig). Never logged.
struct RegistryAuth {
  std::string username;
  std::string password;
  std::string auth;            // base64 of "username:password"
  std::string server_address;  // if set, the only host they are for
  std::string identity_token;
  std::string registry_token;
  bool empty() const {
    return username.empty() && password.empty() && auth.empty() && identity_token.empty() &&
           registry_token.empty();
  }
};

// What a RegistryAuth comes to for one registry.
struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token;
  std::string registry_token;
  bool empty() const {
    return username.empty() && password.empty() && identity_token.empty() && registry_token.empty();
  }
  // Tells users apart without being the secret.
  std::string Fingerprint() const;
};

// Unpacks `auth`; gives empty credentials where `server_address` names another host than `domain`
// (as a reference writes it). InvalidArgument never quotes a secret.
Result<Credentials> CredentialsFor(const RegistryAuth& auth, std::string_view domain);

// The host that a server's address ("https://index.docker.io/v1/") names, as references write it
// ("docker.io").
std::string DomainOfServerAddress(std::string_view address);

struct Challenge {
  std::string scheme;                         // lower case: "bearer", "basic"
  std::map<std::string, std::string> params;  // names in lower case
};
// The WWW-Authenticate header (RFC 9110, 11.6.1), strictly and within bounds; DataLoss otherwise.
Result<std::vector<Challenge>> ParseChallenges(std::string_view header);

// One server with the registry's API (registry_hosts.h says where they come from).
struct RegistryEndpoint {
  std::string base_url;  // "https://registry.example/v2", what the API's paths follow
  std::string host;      // "registry.example:5000", as references write it
  std::string query;     // of every request: "ns=docker.io" for a mirror
  bool pull = true, resolve = true, push = true;
  bool is_mirror = false;
  std::shared_ptr<const HostOptions> options;  // none: the usual ones
};

// How to talk to another server that the registry names (for tokens, for uploads): trusted as the
// registry is, but shown its client certificates and headers only if it is the same one.
std::shared_ptr<const HostOptions> OptionsFor(const RegistryEndpoint& endpoint,
                                              const std::string& url);

// Who asks for what: tokens are kept per this.
struct AuthScope {
  RegistryEndpoint endpoint;
  std::string repository;  // "library/busybox"
  Credentials credentials;
};

// Answers challenges and remembers what worked until it expires. Thread-safe.
class Authorizer {
 public:
  explicit Authorizer(HttpClient& http) : http_(http) {}

  // The Authorization header to begin with; "" if none is known.
  std::string Known(const AuthScope& scope) EXCLUDES(mutex_);
  // Makes one that suits the challenge of a 401, asking the token server if that is what it says.
  // Forgets what was known. Unauthenticated if there is no way; errors carry no secret.
  Result<std::string> Answer(const Context& context, const AuthScope& scope,
                             std::string_view challenge_header) EXCLUDES(mutex_);

 private:
  struct Token {
    std::string header;
    int64_t expires_ns;  // of the monotonic clock
  };
  Result<Token> FetchToken(const Context& context, const AuthScope& scope,
                           const Challenge& challenge);

  HttpClient& http_;
  Mutex mutex_;
  std::map<std::string, Token> tokens_ GUARDED_BY(mutex_);
};

}  // namespace berth::image
