// Credentials of this machine: a config.json as docker writes it (auths, credHelpers, credsStore),
// and the programs docker-credential-NAME that it names.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/context.h"
#include "base/result.h"
#include "image/registry_auth.h"

namespace berth::image {

struct DockerConfig {
  std::map<std::string, RegistryAuth> auths;   // by host, as references write it
  std::map<std::string, std::string> helpers;  // by host: NAME of docker-credential-NAME
  std::string store;                           // the helper of every other host
};
// InvalidArgument names what is wrong and quotes no secret.
Result<DockerConfig> ParseDockerConfig(std::string_view text);

// What the file says of the host ("docker.io", "registry.example:5000"); nothing if it says
// nothing. A helper counts more than what is written down, and one for the host more than the
// store. It is looked for in `helper_path` (directories with ':' between them), gets the daemon's
// environment, 30 s and 1 MiB for its answer, and is killed afterwards. FailedPrecondition or
// DeadlineExceeded name it; NotFound names the file.
Result<RegistryAuth> CredentialsInFile(const Context& context, const std::string& file,
                                       const std::string& host, std::string_view helper_path);

}  // namespace berth::image
