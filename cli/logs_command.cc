// berth logs.
#include "base/strings.h"
#include "cli/command.h"
#include "cli/find.h"
#include "cli/follow.h"

namespace berth::cli {
namespace {

struct LogsOptions {
  std::string container;
  bool follow = false;
  LogOptions log;
};

Result<int> Logs(const LogsOptions& options, Client& client) {
  ASSIGN_OR_RETURN(const rt::Container container, FindContainer(client, options.container));
  if (options.follow) {
    constexpr int kNoSignals = -1;  // poll(2) skips it; Ctrl-C just ends this process
    RETURN_IF_ERROR(FollowUntilExit(client, container.id(), options.log, kNoSignals));
    return 0;
  }
  rt::ContainerStatusRequest request;
  request.set_container_id(container.id());
  ASSIGN_OR_RETURN(const auto response, client.Call(request));
  if (response.status().log_path().empty()) {
    return Error(Code::kFailedPrecondition,
                 StrCat("container ", options.container, " was made without a log file"));
  }
  LogReader reader(response.status().log_path(), options.log);
  RETURN_IF_ERROR(PrintNew(reader));
  return 0;
}

}  // namespace

void AddLogsCommand(Cli& cli) {
  auto options = std::make_shared<LogsOptions>();
  CLI::App* command = cli.AddCommand("logs", "Show what a container has written");
  command->add_flag("-f,--follow", options->follow, "Go on until the container exits");
  command->add_option("--tail", options->log.tail, "Only so many lines of what is there")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("-t,--timestamps", options->log.timestamps, "Show when each line was written");
  command->add_option("CONTAINER", options->container, "Id or name")->required();
  command->callback([&cli, options] {
    cli.action = [options](Client& client) { return Logs(*options, client); };
  });
}

}  // namespace berth::cli
