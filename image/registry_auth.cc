#include "image/registry_auth.h"

#include <algorithm>
#include <optional>

#include "base/base64.h"
#include "base/json.h"
#include "base/time.h"
#include "image/digest.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr size_t kMaxHeaderBytes = 8 << 10;
constexpr size_t kMaxChallenges = 8;
constexpr size_t kMaxParams = 16;
constexpr size_t kMaxTokenBytes = 64 << 10;
constexpr size_t kMaxTokens = 1024;
// A token without "expires_in" lives for 60 s (distribution/spec/auth/token).
constexpr int64_t kDefaultTokenSeconds = 60;
constexpr int64_t kMaxTokenSeconds = 3600;
constexpr int64_t kBasicSeconds = 600;

constexpr char kClientId[] = "berth";

// Visible ASCII without blanks: what a header's value may carry without becoming another header.
bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// A token of RFC 9110, 5.6.2.
bool IsTokenChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string UrlEncode(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += ToHex(&c, 1);
    }
  }
  return out;
}

// Reads challenges from the front of a text.
class ChallengeParser {
 public:
  explicit ChallengeParser(std::string_view text) : text_(text) {}

  Result<std::vector<Challenge>> Parse() {
    std::vector<Challenge> out;
    SkipSeparators();
    while (!text_.empty()) {
      std::string name = ToLower(Token());
      if (name.empty()) return Malformed();
      SkipBlanks();
      if (text_.starts_with('=') && !out.empty()) {
        RETURN_IF_ERROR(Param(std::move(name), &out.back()));
      } else {
        if (out.size() == kMaxChallenges) return Malformed();
        out.push_back({std::move(name), {}});
      }
      SkipSeparators();
    }
    return out;
  }

 private:
  static Error Malformed() {
    return {Code::kDataLoss, "the registry's WWW-Authenticate header is malformed"};
  }
  void SkipBlanks() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t"), text_.size())); }
  void SkipSeparators() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t,"), text_.size()));
  }
  std::string_view Token() {
    auto end = std::find_if_not(text_.begin(), text_.end(), IsTokenChar);
    std::string_view token = text_.substr(0, static_cast<size_t>(end - text_.begin()));
    text_.remove_prefix(token.size());
    return token;
  }
  // After the name: "=", and a token or a quoted string.
  Status Param(std::string name, Challenge* challenge) {
    text_.remove_prefix(1);
    SkipBlanks();
    std::string value;
    if (text_.starts_with('"')) {
      ASSIGN_OR_RETURN(value, Quoted());
    } else {
      value = Token();
      if (value.empty()) return Malformed();
    }
    // Twice the same name could mean one thing to us and another to somebody else.
    if (challenge->params.size() == kMaxParams ||
        !challenge->params.emplace(std::move(name), std::move(value)).second) {
      return Malformed();
    }
    return Ok();
  }
  Result<std::string> Quoted() {
    std::string out;
    for (size_t i = 1; i < text_.size(); ++i) {
      char c = text_[i];
      if (c == '"') {
        text_.remove_prefix(i + 1);
        return out;
      }
      if (c == '\\' && ++i < text_.size()) c = text_[i];
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return Malformed();
      out += c;
    }
    return Malformed();
  }

  std::string_view text_;
};

std::string KeyOf(const AuthScope& scope) {
  return StrCat(scope.endpoint.base_url, "|", scope.repository, "|",
                scope.credentials.Fingerprint());
}

const Challenge* FindScheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  for (const Challenge& challenge : challenges) {
    if (challenge.scheme == scheme) return &challenge;
  }
  return nullptr;
}

std::string ParamOf(const Challenge& challenge, const std::string& name) {
  auto it = challenge.params.find(name);
  return it == challenge.params.end() ? "" : it->second;
}

std::string BasicHeader(const Credentials& credentials) {
  return StrCat("Basic ", ToBase64(StrCat(credentials.username, ":", credentials.password)));
}

// The realm may be asked with credentials only over TLS, unless the registry has none of it itself
// (CVE-2019-10214).
Status CheckRealm(const AuthScope& scope, const std::string& realm) {
  ASSIGN_OR_RETURN(Origin token_server, OriginOf(realm), "token server");
  if (token_server.scheme == "https" || scope.endpoint.base_url.starts_with("http://")) return Ok();
  return Error(Code::kPermissionDenied, StrCat("refusing the token server ", UrlForMessage(realm),
                                               ": the registry uses TLS and it does not"));
}

enum class TokenFlow { kGet, kPost };

// The GET of distribution/spec/auth/token, or the POST of distribution/spec/auth/oauth.
HttpRequest TokenRequest(const AuthScope& scope, const Challenge& challenge,
                         const std::string& realm, TokenFlow flow) {
  std::string wanted = ParamOf(challenge, "scope");
  if (wanted.empty()) wanted = StrCat("repository:", scope.repository, ":pull");
  const std::string fields =
      StrCat("service=", UrlEncode(ParamOf(challenge, "service")), "&scope=", UrlEncode(wanted));
  const Credentials& credentials = scope.credentials;
  HttpRequest request;
  request.max_body_bytes = 1 << 20;
  request.host = OptionsFor(scope.endpoint, realm);
  if (flow == TokenFlow::kGet) {
    request.url = StrCat(realm, realm.find('?') == std::string::npos ? "?" : "&", fields);
    if (!credentials.username.empty()) request.authorization = BasicHeader(credentials);
    return request;
  }
  request.method = "POST";
  request.url = realm;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
  request.body = StrCat("client_id=", kClientId, "&", fields);
  if (!credentials.identity_token.empty()) {
    request.body +=
        StrCat("&grant_type=refresh_token&refresh_token=", UrlEncode(credentials.identity_token));
  } else {
    request.body += StrCat("&grant_type=password&username=", UrlEncode(credentials.username),
                           "&password=", UrlEncode(credentials.password));
  }
  return request;
}

}  // namespace

std::shared_ptr<const HostOptions> OptionsFor(const RegistryEndpoint& endpoint,
                                              const std::string& url) {
  const auto& options = endpoint.options;
  auto server = OriginOf(url);
  auto registry = OriginOf(endpoint.base_url);
  if (options == nullptr || (server.ok() && registry.ok() && *server == *registry)) return options;
  auto out = std::make_shared<HostOptions>();
  out->skip_verify = options->skip_verify;
  out->ca_pem = options->ca_pem;
  out->dial_timeout_ms = options->dial_timeout_ms;
  return out;
}

std::string DomainOfServerAddress(std::string_view address) {
  for (std::string_view scheme : {"https://", "http://"}) {
    if (address.starts_with(scheme)) address.remove_prefix(scheme.size());
  }
  std::string domain = ToLower(address.substr(0, address.find('/')));
  return domain == "index.docker.io" || domain == "registry-1.docker.io" ? "docker.io" : domain;
}

std::string Credentials::Fingerprint() const {
  Sha256 sha;
  for (const std::string& part : {username, password, identity_token, registry_token}) {
    sha.Update(StrCat(part.size(), ":", part));
  }
  return sha.Finish();
}

Result<Credentials> CredentialsFor(const RegistryAuth& auth, std::string_view domain) {
  if (!auth.server_address.empty() &&
      DomainOfServerAddress(auth.server_address) != ToLower(domain)) {
    return Credentials{};
  }
  Credentials out{auth.username, auth.password, auth.identity_token, auth.registry_token};
  if (!auth.auth.empty() && out.username.empty()) {
    auto plain = auth.auth.size() > kMaxTokenBytes ? std::nullopt : FromBase64(auth.auth);
    size_t colon = plain.has_value() ? plain->find(':') : std::string::npos;
    if (colon == std::string::npos) {
      return Error(Code::kInvalidArgument, "credentials: auth is not base64 of username:password");
    }
    out.username = plain->substr(0, colon);
    out.password = plain->substr(colon + 1);
    // docker pads the password with NUL bytes in some versions of its configuration.
    out.password.resize(std::min(out.password.find('\0'), out.password.size()));
  }
  if (!IsVisible(out.registry_token)) {
    return Error(Code::kInvalidArgument, "credentials: registry_token has an invalid character");
  }
  return out;
}

Result<std::vector<Challenge>> ParseChallenges(std::string_view header) {
  if (header.size() > kMaxHeaderBytes) {
    return Error(Code::kDataLoss, "the registry's WWW-Authenticate header is too long");
  }
  return ChallengeParser(header).Parse();
}

std::string Authorizer::Known(const AuthScope& scope) {
  if (!scope.credentials.registry_token.empty()) {
    return StrCat("Bearer ", scope.credentials.registry_token);
  }
  MutexLock lock(mutex_);
  auto it = tokens_.find(KeyOf(scope));
  if (it == tokens_.end() || it->second.expires_ns <= MonotonicNs()) return "";
  return it->second.header;
}

Result<Authorizer::Token> Authorizer::FetchToken(const Context& context, const AuthScope& scope,
                                                 const Challenge& challenge) {
  std::string realm = ParamOf(challenge, "realm");
  RETURN_IF_ERROR(CheckRealm(scope, realm));
  const TokenFlow first =
      scope.credentials.identity_token.empty() ? TokenFlow::kGet : TokenFlow::kPost;
  ASSIGN_OR_RETURN(auto response, http_.Send(context, TokenRequest(scope, challenge, realm, first)),
                   "token server");
  const bool knows_no_get = response.status == 404 || response.status == 405;
  if (first == TokenFlow::kGet && knows_no_get && !scope.credentials.username.empty()) {
    ASSIGN_OR_RETURN(response,
                     http_.Send(context, TokenRequest(scope, challenge, realm, TokenFlow::kPost)),
                     "token server");
  }
  // The body of a refusal is not quoted: it may repeat what it was sent.
  if (!response.ok()) {
    Code code = response.status == 403                             ? Code::kPermissionDenied
                : response.status == 429 || response.status >= 500 ? Code::kUnavailable
                                                                   : Code::kUnauthenticated;
    return Error(code,
                 StrCat("token server ", UrlForMessage(realm), " answered ", response.status));
  }
  auto parse = [&]() -> Result<Token> {
    ASSIGN_OR_RETURN(Json json, ParseJson(response.body));
    ASSIGN_OR_RETURN(std::string token, JsonString(json, "token"));
    if (token.empty()) {
      ASSIGN_OR_RETURN(token, JsonString(json, "access_token"));
    }
    if (token.empty() || token.size() > kMaxTokenBytes || !IsVisible(token)) {
      return Error(Code::kDataLoss, "no usable token in the answer");
    }
    ASSIGN_OR_RETURN(int64_t seconds, JsonInt(json, "expires_in", kDefaultTokenSeconds));
    seconds = std::clamp(seconds, int64_t{0}, kMaxTokenSeconds);
    // A fifth is left for the requests that are sent with it.
    return Token{StrCat("Bearer ", token), MonotonicNs() + seconds * 800'000'000};
  };
  auto token = parse();
  if (token.ok()) return token;
  return Error(Code::kDataLoss,
               StrCat("token server ", UrlForMessage(realm), ": ", token.error().message()));
}

Result<std::string> Authorizer::Answer(const Context& context, const AuthScope& scope,
                                       std::string_view challenge_header) {
  const std::string key = KeyOf(scope);
  {
    MutexLock lock(mutex_);
    tokens_.erase(key);
  }
  if (!scope.credentials.registry_token.empty()) {
    return Error(Code::kUnauthenticated, "the registry refuses the registry token");
  }
  ASSIGN_OR_RETURN(auto challenges, ParseChallenges(challenge_header));
  Token token;
  if (const Challenge* bearer = FindScheme(challenges, "bearer")) {
    ASSIGN_OR_RETURN(token, FetchToken(context, scope, *bearer));
  } else if (FindScheme(challenges, "basic") != nullptr) {
    if (scope.credentials.username.empty()) {
      return Error(Code::kUnauthenticated, "the registry wants a user name and a password");
    }
    token = {BasicHeader(scope.credentials), MonotonicNs() + kBasicSeconds * 1'000'000'000};
  } else {
    return Error(Code::kUnauthenticated, "the registry offers no known way to log in");
  }
  MutexLock lock(mutex_);
  if (tokens_.size() >= kMaxTokens) tokens_.clear();
  tokens_[key] = token;
  return token.header;
}

}  // namespace berth::image
