#include "image/docker_config.h"

#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"

namespace berth::image {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr int64_t kHelperTimeoutMs = 30'000;
// The name under which docker keeps the credentials of Docker Hub.
constexpr std::string_view kHubAddress = "https://index.docker.io/v1/";
// The user name of a secret that is an identity token.
constexpr std::string_view kTokenUser = "<token>";
// What a helper without an entry prints: no failure, though it exits with 1.
constexpr std::string_view kNoCredentials = "credentials not found";

Error Invalid(std::string what) {
  return {Code::kInvalidArgument, std::move(what)};
}

// It becomes part of a program's name.
Status CheckHelper(const std::string& name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  if (!name.empty() && name.size() <= 64 && name.find_first_not_of(kAllowed) == std::string::npos) {
    return Ok();
  }
  return Invalid(StrCat("\"", Printable(name, 64), "\" is not the name of a credential helper"));
}

Result<RegistryAuth> ParseAuth(const Json& json) {
  RegistryAuth out;
  if (!json.is_object()) return Invalid("not an object");
  ASSIGN_OR_RETURN(out.username, JsonString(json, "username"));
  ASSIGN_OR_RETURN(out.password, JsonString(json, "password"));
  ASSIGN_OR_RETURN(out.auth, JsonString(json, "auth"));
  ASSIGN_OR_RETURN(out.identity_token, JsonString(json, "identitytoken"));
  ASSIGN_OR_RETURN(out.registry_token, JsonString(json, "registrytoken"));
  return out;
}

Result<const Json*> Section(const Json& json, const char* name) {
  auto found = json.find(name);
  if (found == json.end() || found->is_null()) return nullptr;
  if (!found->is_object()) return Invalid(StrCat(name, " is not an object"));
  return &*found;
}

// Everything but what is only meant for the daemon.
std::vector<std::string> HelperEnvironment() {
  std::vector<std::string> out;
  bool has_path = false;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.starts_with("NOTIFY_SOCKET=") || text.starts_with("WATCHDOG_") ||
        text.starts_with("LISTEN_")) {
      continue;
    }
    has_path = has_path || text.starts_with("PATH=");
    out.emplace_back(text);
  }
  if (!has_path) out.emplace_back(kProgramsPath);
  return out;
}

Result<std::string> FindHelperProgram(const std::string& name, std::string_view path) {
  for (std::string_view directory : Split(path, ':')) {
    std::string candidate = StrCat(directory, "/docker-credential-", name);
    if (directory.starts_with('/') && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return Error(Code::kFailedPrecondition, StrCat("docker-credential-", name, " is not in ", path));
}

Result<RegistryAuth> AskHelper(const Context& context, const std::string& name,
                               const std::string& host, std::string_view path) {
  RETURN_IF_ERROR(CheckHelper(name));
  SpawnOptions options;
  ASSIGN_OR_RETURN(options.path, FindHelperProgram(name, path));
  const std::string program = StrCat("docker-credential-", name);
  options.args = {program, "get"};
  options.env = HelperEnvironment();
  options.new_session = true;
  const std::string address = host == "docker.io" ? std::string(kHubAddress) : host;
  ASSIGN_OR_RETURN(auto output, RunProgram(context.Timeout(kHelperTimeoutMs), options, address),
                   program);
  if (output.exit_code != 0) {
    // By the convention the reason is on standard output.
    if (output.out.find(kNoCredentials) != std::string::npos) return RegistryAuth{};
    return Error(Code::kFailedPrecondition,
                 StrCat(program, " get: exit code ", output.exit_code, ": ",
                        Printable(Trim(output.out.empty() ? output.err : output.out), 200)));
  }
  auto parse = [&]() -> Result<RegistryAuth> {
    ASSIGN_OR_RETURN(const Json json, ParseJson(output.out));
    if (!json.is_object()) return Invalid("not an object");
    ASSIGN_OR_RETURN(std::string username, JsonString(json, "Username"));
    ASSIGN_OR_RETURN(std::string secret, JsonString(json, "Secret"));
    RegistryAuth out;
    if (username == kTokenUser) {
      out.identity_token = std::move(secret);
    } else {
      out.username = std::move(username);
      out.password = std::move(secret);
    }
    return out;
  };
  auto auth = parse();
  if (auth.ok()) return auth;
  // The answer is not quoted: it has the secret in it.
  return Error(Code::kFailedPrecondition, StrCat(program, " get: the answer is not its JSON"));
}

}  // namespace

Result<DockerConfig> ParseDockerConfig(std::string_view text) {
  auto json = ParseJson(text);
  if (!json.ok() || !json->is_object()) return Invalid("not a JSON object");
  DockerConfig out;
  ASSIGN_OR_RETURN(const Json* auths, Section(*json, "auths"));
  if (auths != nullptr) {
    for (const auto& [address, entry] : auths->items()) {
      ASSIGN_OR_RETURN(out.auths[DomainOfServerAddress(address)], ParseAuth(entry), "auths.\"",
                       Printable(address, 100), "\"");
    }
  }
  ASSIGN_OR_RETURN(const Json* helpers, Section(*json, "credHelpers"));
  if (helpers != nullptr) {
    for (const auto& [address, name] : helpers->items()) {
      if (!name.is_string()) return Invalid("credHelpers: a value is no text");
      RETURN_IF_ERROR(CheckHelper(name.get<std::string>()), "credHelpers");
      out.helpers[DomainOfServerAddress(address)] = name.get<std::string>();
    }
  }
  ASSIGN_OR_RETURN(out.store, JsonString(*json, "credsStore"));
  if (!out.store.empty()) RETURN_IF_ERROR(CheckHelper(out.store), "credsStore");
  return out;
}

Result<RegistryAuth> CredentialsInFile(const Context& context, const std::string& file,
                                       const std::string& host, std::string_view helper_path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxFileBytes), "credentials");
  ASSIGN_OR_RETURN(const DockerConfig config, ParseDockerConfig(text), "credentials: ", file);
  const std::string key = ToLower(host);
  auto helper = config.helpers.find(key);
  const std::string name = helper == config.helpers.end() ? config.store : helper->second;
  RegistryAuth auth;
  if (!name.empty()) {
    ASSIGN_OR_RETURN(auth, AskHelper(context, name, key, helper_path), "credentials for ", key);
  }
  auto written = config.auths.find(key);
  if (auth.empty() && written != config.auths.end()) auth = written->second;
  return auth;
}

}  // namespace berth::image
