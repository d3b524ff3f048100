// berth run: a pod with one container in one go.
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/undo.h"
#include "cli/command.h"
#include "cli/find.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/pull.h"
#include "cli/run_options.h"

namespace berth::cli {
namespace {

struct RunRequest {
  RunOptions options;
  bool detach = false, remove = false;
};

struct RunningContainer {
  std::string pod_id, container_id, uid;
};

// The id of the image, pulled if it is not there.
Result<std::string> EnsureImage(Client& client, const std::string& image) {
  rt::ImageStatusRequest request;
  request.mutable_image()->set_image(image);
  ASSIGN_OR_RETURN(const auto status, client.Call(request), "look for image ", Printable(image));
  if (status.has_image()) return status.image().id();
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(image);
  return Pull(client, pull);
}

// On failure nothing is left but the image.
Result<RunningContainer> StartIt(Client& client, const RunOptions& options) {
  RunningContainer made;
  made.uid = NewId().substr(0, 32);
  const std::string log_directory = StrCat(LogRoot(client.SocketPath()), "/", made.uid);
  rt::RunPodSandboxRequest run_pod;
  ASSIGN_OR_RETURN(*run_pod.mutable_config(), MakePodConfig(options, made.uid, log_directory));
  run_pod.set_runtime_handler(options.runtime);
  rt::CreateContainerRequest create;
  ASSIGN_OR_RETURN(const std::string image_id, EnsureImage(client, options.image));
  ASSIGN_OR_RETURN(*create.mutable_config(), MakeContainerConfig(options, image_id, made.uid));
  *create.mutable_sandbox_config() = run_pod.config();

  UndoStack undo;
  RETURN_IF_ERROR(MakeDirs(log_directory, 0750), "make ", log_directory);
  undo.Add("log directory", [&] { return RemoveLogs(client, made.uid); });
  ASSIGN_OR_RETURN(const auto pod, client.Call(run_pod), "run pod ", options.name);
  made.pod_id = pod.pod_sandbox_id();
  undo.Add("pod", [&] { return RemoveRunPod(client, made.pod_id, made.uid); });
  create.set_pod_sandbox_id(made.pod_id);
  ASSIGN_OR_RETURN(const auto container, client.Call(create), "create container ", options.name);
  made.container_id = container.container_id();
  rt::StartContainerRequest start;
  start.set_container_id(made.container_id);
  RETURN_IF_ERROR(client.Call(start), "start container ", options.name);
  undo.Commit();
  return made;
}

Status PrintMade(Cli& cli, const RunningContainer& made) {
  if (!cli.json()) return Print(made.container_id + "\n");
  rt::Container container;
  container.set_id(made.container_id);
  container.set_pod_sandbox_id(made.pod_id);
  ASSIGN_OR_RETURN(const std::string json, ToJson(container));
  return Print(json);
}

// Written to by the signal handler; -1 until stop signals are taken.
int stop_event = -1;

// From here on SIGINT and SIGTERM make the returned eventfd readable and do nothing else. A handler
// and not a signalfd: gRPC's threads, which are there already, do not block signals.
Result<UniqueFd> TakeStopSignals() {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.ok()) return ErrnoError("make an eventfd");
  stop_event = event.get();
  struct sigaction action {};
  action.sa_flags = SA_RESTART;
  action.sa_handler = [](int) {
    const uint64_t one = 1;
    (void)!write(stop_event, &one, sizeof(one));
  };
  if (sigaction(SIGINT, &action, nullptr) != 0 || sigaction(SIGTERM, &action, nullptr) != 0) {
    return ErrnoError("take signals");
  }
  return event;
}

Result<int> Run(Cli& cli, RunRequest& request, Client& client) {
  if (request.options.name.empty()) request.options.name = DefaultName(request.options.image);
  if (request.detach) {
    ASSIGN_OR_RETURN(const RunningContainer made, StartIt(client, request.options));
    RETURN_IF_ERROR(PrintMade(cli, made));
    return 0;
  }
  // Pulled while Ctrl-C still ends this process.
  RETURN_IF_ERROR(EnsureImage(client, request.options.image));
  ASSIGN_OR_RETURN(const UniqueFd stop_signals, TakeStopSignals());
  ASSIGN_OR_RETURN(const RunningContainer made, StartIt(client, request.options));
  ASSIGN_OR_RETURN(const auto status,
                   FollowUntilExit(client, made.container_id, {}, stop_signals.get()));
  if (request.remove) RETURN_IF_ERROR(RemoveRunPod(client, made.pod_id, made.uid));
  return status.exit_code();
}

// A check for CLI11 from a parser: its error is shown as one of the command line.
template <typename Parser>
CLI::Validator Checked(Parser parser) {
  return CLI::Validator(
      [parser](const std::string& text) {
        auto parsed = parser(text);
        return parsed.ok() ? std::string() : parsed.error().message();
      },
      "");
}

Status CheckUser(std::string_view text) {
  rt::LinuxContainerSecurityContext unused;
  return ParseUser(text, unused);
}

}  // namespace

void AddRunCommand(Cli& cli) {
  auto request = std::make_shared<RunRequest>();
  RunOptions& options = request->options;
  CLI::App* command = cli.AddCommand(
      "run",
      "Run IMAGE [COMMAND [ARGUMENT...]] in a new pod: shows the output, exits with the exit code");
  CLI::Option* detach =
      command->add_flag("-d,--detach", request->detach, "Do not wait: print the container's id");
  command->add_flag("--rm", request->remove, "Remove pod and container once it has exited")
      ->excludes(detach);
  command->add_option("--name", options.name, "Name of pod and container");
  // One value each time: what follows is the image.
  command->add_option("-p,--publish", options.ports, "[IP:]HOST:CONTAINER[/tcp|udp|sctp]")
      ->allow_extra_args(false)
      ->check(Checked(ParsePort));
  command->add_option("-v,--volume", options.volumes, "HOST:CONTAINER[:ro], absolute paths")
      ->allow_extra_args(false)
      ->check(Checked(ParseVolume));
  command->add_option("-e,--env", options.envs, "KEY=VALUE, or KEY as it is set here")
      ->allow_extra_args(false)
      ->check(Checked(ParseEnv));
  command->add_option("--memory", options.memory, "Limit in bytes, or with k, m, g")
      ->check(Checked(ParseMemory));
  command->add_option("--cpus", options.cpus, "Limit in CPUs, such as 0.5")
      ->check(Checked(ParseCpuQuotaUs));
  command->add_option("--user", options.user, "UID[:GID], or a user's name in the image")
      ->check(Checked(CheckUser));
  command->add_option("--workdir", options.workdir, "Working directory");
  command->add_option("--runtime", options.runtime, "Runtime handler, as configured");
  command->add_flag("--read-only", options.read_only, "Make the root file system read-only");
  command->add_flag("--host-network", options.host_network, "Use the machine's network");
  command->add_flag("--privileged", options.privileged, "All capabilities and devices");
  command->add_option("IMAGE", options.image, "Image reference or id")->required();
  command->prefix_command();
  command->callback([&cli, request, command] {
    request->options.command = command->remaining();
    cli.failure_exit_code = kExitRunFailed;
    cli.action = [&cli, request](Client& client) { return Run(cli, *request, client); };
  });
}

}  // namespace berth::cli
