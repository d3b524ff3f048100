// Who somebody is at a registry, on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
#include "cri/proto/api.pb.h"

namespace berth::cli {

struct LoginOptions {
  std::string username;
  bool password_stdin = false;
};

// --username, --password-stdin. The options are filled when the command line is parsed.
void AddLoginOptions(CLI::App* command, LoginOptions& options);
// Reads the password, if there is one to be read. Nothing is set without a user.
Status ReadLogin(const LoginOptions& options, ::runtime::v1::AuthConfig* auth);

}  // namespace berth::cli
