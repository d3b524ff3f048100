#include "cli/login.h"

#include <unistd.h>

#include "base/fd.h"
#include "base/strings.h"

namespace berth::cli {

void AddLoginOptions(CLI::App* command, LoginOptions& options) {
  CLI::Option* username =
      command->add_option("-u,--username", options.username, "User at the registry");
  command->add_flag("--password-stdin", options.password_stdin, "Read the password from stdin")
      ->needs(username);
}

Status ReadLogin(const LoginOptions& options, ::runtime::v1::AuthConfig* auth) {
  constexpr size_t kMaxPasswordBytes = 64 << 10;
  if (options.username.empty()) return Ok();
  auth->set_username(options.username);
  if (!options.password_stdin) return Ok();
  ASSIGN_OR_RETURN(const std::string password, ReadToEnd(STDIN_FILENO, kMaxPasswordBytes),
                   "read the password");
  auth->set_password(std::string(Trim(password)));
  return Ok();
}

}  // namespace berth::cli
