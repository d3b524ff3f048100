// berth info, berth version.
#include "base/strings.h"
#include "cli/command.h"
#include "cli/output.h"

namespace berth::cli {
namespace {

Result<int> Version(Cli& cli, Client& client) {
  ASSIGN_OR_RETURN(const auto version, client.Call(rt::VersionRequest()));
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(version));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  RETURN_IF_ERROR(Print(StrCat("runtime   ", version.runtime_name(), " ", version.runtime_version(),
                               "\nCRI       ", version.runtime_api_version(), "\n")));
  return 0;
}

Result<int> Info(Cli& cli, Client& client) {
  rt::StatusRequest request;
  request.set_verbose(true);
  ASSIGN_OR_RETURN(const auto status, client.Call(request));
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(status));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  ASSIGN_OR_RETURN(const auto version, client.Call(rt::VersionRequest()));
  std::string out = StrCat(version.runtime_name(), " ", version.runtime_version(), " at ",
                           client.address(), "\n\n");
  Table conditions({"CONDITION", "STATUS", "REASON", "MESSAGE"});
  for (const auto& condition : status.status().conditions()) {
    conditions.Add({condition.type(), condition.status() ? "true" : "false", condition.reason(),
                    condition.message()});
  }
  out += conditions.Text();
  for (const auto& [key, value] : status.info()) out += StrCat("\n", key, ": ", value, "\n");
  RETURN_IF_ERROR(Print(out));
  return 0;
}

}  // namespace

void AddInfoCommands(Cli& cli) {
  cli.AddCommand("info", "Show the state of the runtime")->callback([&cli] {
    cli.action = [&cli](Client& client) { return Info(cli, client); };
  });
  cli.AddCommand("version", "Show the runtime's version")->callback([&cli] {
    cli.action = [&cli](Client& client) { return Version(cli, client); };
  });
}

}  // namespace berth::cli
