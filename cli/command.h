// What the files with commands share. Each AddXCommands() declares its subcommands, and when one
// was given, the parsed options wait in Cli::action.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/result.h"
#include "cli/client.h"

namespace berth::cli {

// Exit codes, besides a container's own (`run`, `exec`).
inline constexpr int kExitFailed = 1;       // the server said no, or could not be reached
inline constexpr int kExitUsage = 2;        // the command line is wrong
inline constexpr int kExitRunFailed = 125;  // `run` or `exec` failed before the command ran

struct Cli {
  CLI::App app{"berth: runs pods and containers with berthd"};
  std::string address = kDefaultAddress;
  std::string output = "table";
  // The chosen subcommand, ready to run; its Result is the exit code of the process.
  std::function<Result<int>(Client&)> action;
  int failure_exit_code = kExitFailed;

  bool json() const { return output == "json"; }
  // A subcommand that takes --address and, where it prints anything, --output.
  CLI::App* AddCommand(const std::string& name, const std::string& description, bool prints = true);
};

void AddInfoCommands(Cli& cli);       // info version
void AddCheckCommand(Cli& cli);       // check
void AddImageCommands(Cli& cli);      // pull images rmi
void AddArchiveCommands(Cli& cli);    // import export
void AddStoreCommands(Cli& cli);      // tag push pulls gc verify
void AddPreloadCommand(Cli& cli);     // preload
void AddRunCommand(Cli& cli);         // run
void AddListCommands(Cli& cli);       // ps pods stats inspect
void AddContainerCommands(Cli& cli);  // stop rm
void AddStopAllCommand(Cli& cli);     // stop-all
void AddSessionCommands(Cli& cli);    // exec attach port-forward
void AddMigrateCommand(Cli& cli);     // migrate-config
void AddLogsCommand(Cli& cli);        // logs
void AddCompletionCommand(Cli& cli);  // completion; must be the last, it knows those before it

}  // namespace berth::cli
