// The berth command: parses the command line, makes the calls, prints one line on failure.
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "base/strings.h"
#include "cli/command.h"

namespace berth::cli {

CLI::App* Cli::AddCommand(const std::string& name, const std::string& description, bool prints) {
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option("--address", address, "Socket of berthd; $BERTH_ADDRESS where it is set")
      ->capture_default_str();
  if (!prints) return command;
  command->add_option("-o,--output", output, "How answers are printed")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  return command;
}

namespace {

constexpr char kFooter[] =
    "Exit codes: 0 success; 1 berthd refused or could not be reached; 2 wrong command line.\n"
    "`run` and `exec` pass on the command's own code (128 + signal if it was killed), and exit\n"
    "with 125 when it could not be run.";

int Main(int argc, char** argv) {
  // A closed pipe is an error of write(2), not the end.
  signal(SIGPIPE, SIG_IGN);
  Cli cli;
  // Not CLI11's envname(): it would set the variable that all subcommands share once for each.
  if (const char* address = getenv("BERTH_ADDRESS"); address != nullptr) cli.address = address;
  cli.app.require_subcommand(1);
  cli.app.footer(kFooter);
  AddRunCommand(cli);
  AddListCommands(cli);
  AddLogsCommand(cli);
  AddSessionCommands(cli);
  AddContainerCommands(cli);
  AddStopAllCommand(cli);
  AddImageCommands(cli);
  AddArchiveCommands(cli);
  AddStoreCommands(cli);
  AddPreloadCommand(cli);
  AddInfoCommands(cli);
  AddCheckCommand(cli);
  AddMigrateCommand(cli);
  AddCompletionCommand(cli);
  try {
    cli.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return cli.app.exit(error);  // --help
    std::cerr << "berth: " << error.what() << " (see berth --help)\n";
    return kExitUsage;
  }
  Client client(cli.address);
  Result<int> exit_code = cli.action(client);
  if (exit_code.ok()) return *exit_code;
  std::cerr << StrCat("berth: ", exit_code.error().message(), "\n");
  return cli.failure_exit_code;
}

}  // namespace
}  // namespace berth::cli

int main(int argc, char** argv) {
  try {
    return berth::cli::Main(argc, argv);
  } catch (const std::exception& e) {  // of the standard library: memory is short
    fprintf(stderr, "berth: %s\n", e.what());
    return berth::cli::kExitFailed;
  }
}
