// berth stop, berth rm.
#include <unistd.h>

#include "base/fd.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/find.h"
#include "cli/output.h"
#include "cli/run_options.h"

namespace berth::cli {
namespace {

Result<int> Stop(const std::vector<std::string>& containers, int64_t timeout_s, Client& client) {
  for (const std::string& wanted : containers) {
    ASSIGN_OR_RETURN(const rt::Container container, FindContainer(client, wanted));
    rt::StopContainerRequest request;
    request.set_container_id(container.id());
    request.set_timeout(timeout_s);
    RETURN_IF_ERROR(client.Call(request), "stop ", wanted);
  }
  return 0;
}

Status RemoveOne(const std::string& wanted, bool force, Client& client) {
  ASSIGN_OR_RETURN(const rt::Container container, FindContainer(client, wanted));
  if (container.state() == rt::CONTAINER_RUNNING && !force) {
    return Error(Code::kFailedPrecondition,
                 StrCat("container ", wanted, " is running: stop it first or use --force"));
  }
  const auto label = container.labels().find(kRunLabel);
  if (label != container.labels().end()) {
    return RemoveRunPod(client, container.pod_sandbox_id(), label->second);
  }
  rt::RemoveContainerRequest request;
  request.set_container_id(container.id());
  RETURN_IF_ERROR(client.Call(request), "remove ", wanted);
  return Ok();
}

Result<int> Remove(const std::vector<std::string>& containers, bool force, Client& client) {
  for (const std::string& wanted : containers) {
    RETURN_IF_ERROR(RemoveOne(wanted, force, client));
  }
  return 0;
}

}  // namespace

void AddContainerCommands(Cli& cli) {
  auto stopped = std::make_shared<std::vector<std::string>>();
  auto timeout_s = std::make_shared<int64_t>(10);
  CLI::App* command = cli.AddCommand("stop", "Stop containers");
  command->add_option("--timeout", *timeout_s, "Seconds from the stop signal to the kill")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("CONTAINER", *stopped, "Ids or names")->required();
  command->callback([&cli, stopped, timeout_s] {
    cli.action = [stopped, timeout_s](Client& client) {
      return Stop(*stopped, *timeout_s, client);
    };
  });

  auto removed = std::make_shared<std::vector<std::string>>();
  auto force = std::make_shared<bool>(false);
  command = cli.AddCommand("rm", "Remove containers; also the pods that `berth run` made for them");
  command->add_flag("-f,--force", *force, "Also those that run");
  command->add_option("CONTAINER", *removed, "Ids or names")->required();
  command->callback([&cli, removed, force] {
    cli.action = [removed, force](Client& client) { return Remove(*removed, *force, client); };
  });
}

}  // namespace berth::cli
