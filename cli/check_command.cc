// berth check.
#include <unistd.h>

#include "base/json.h"
#include "base/strings.h"
#include "cli/check.h"
#include "cli/command.h"
#include "cli/output.h"
#include "config/config.h"

namespace berth::cli {
namespace {

constexpr char kDefaultConfig[] = "/etc/berth/config.toml";

void CheckDaemon(Client& client, Findings& findings) {
  auto status = client.Call(rt::StatusRequest());
  if (!status.ok()) {
    findings.push_back({"berthd", Level::kWarning, status.error().message(),
                        "start it: systemctl enable --now berthd"});
    return;
  }
  for (const auto& condition : status->status().conditions()) {
    findings.push_back({condition.type(), condition.status() ? Level::kOk : Level::kWarning,
                        condition.status() ? "true" : "false", condition.message()});
  }
}

Result<int> Check(Cli& cli, Client& client, const std::string& file) {
  Findings findings;
  if (geteuid() != 0) return Error(Code::kPermissionDenied, "check: run it as root");
  auto config = config::Load(file.empty() ? kDefaultConfig : file, !file.empty());
  if (!config.ok()) {
    findings.push_back({"configuration", Level::kProblem, config.error().message(),
                        "see berth.toml(5) and `berthd config check`"});
    config = config::Config();
  }
  CheckKernel(findings);
  CheckCgroups(*config, findings);
  CheckStorage(*config, findings);
  CheckNetwork(*config, findings);
  CheckDaemon(client, findings);
  RETURN_IF_ERROR(
      Print(cli.json() ? ToText(FindingsJson(findings)) + "\n" : FindingsText(findings)));
  return HasProblem(findings) ? kExitFailed : 0;
}

}  // namespace

void AddCheckCommand(Cli& cli) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = cli.AddCommand(
      "check", "Tell whether this machine can be a node, and what to do about what it lacks");
  command->add_option("--config", *file,
                      StrCat("Configuration of berthd; ", kDefaultConfig, " where there is one"));
  command->callback([&cli, file] {
    cli.action = [&cli, file](Client& client) { return Check(cli, client, *file); };
  });
}

}  // namespace berth::cli
