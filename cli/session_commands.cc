// berth exec, berth attach, berth port-forward.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>
#include <thread>

#include "base/fd.h"
#include "base/socket.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/find.h"
#include "cli/output.h"
#include "cli/session.h"

namespace berth::cli {
namespace {

struct ExecOptions {
  std::string container;
  std::vector<std::string> command;
  int64_t timeout_s = 0;
  bool interactive = false, terminal = false;
};

// The fields that requests for streams share by name.
template <typename Options, typename Request>
void WantStreams(const Options& options, Request& request) {
  request.set_tty(options.terminal);
  request.set_stdin(options.interactive);
  request.set_stdout(true);
  request.set_stderr(!options.terminal);
}

Result<int> ExecStreaming(const ExecOptions& options, const std::string& id, Client& client) {
  rt::ExecRequest request;
  request.set_container_id(id);
  request.mutable_cmd()->Assign(options.command.begin(), options.command.end());
  WantStreams(options, request);
  ASSIGN_OR_RETURN(const auto response, client.Call(request), "exec in ", options.container);
  return RunSession(response.url(), {options.interactive, options.terminal});
}

Result<int> Exec(Cli& cli, const ExecOptions& options, Client& client) {
  ASSIGN_OR_RETURN(const rt::Container container, FindContainer(client, options.container));
  if (options.interactive || options.terminal) {
    return ExecStreaming(options, container.id(), client);
  }
  rt::ExecSyncRequest request;
  request.set_container_id(container.id());
  request.mutable_cmd()->Assign(options.command.begin(), options.command.end());
  request.set_timeout(options.timeout_s);
  ASSIGN_OR_RETURN(const auto response, client.Call(request), "exec in ", options.container);
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(response));
    RETURN_IF_ERROR(Print(json));
    return response.exit_code();
  }
  RETURN_IF_ERROR(WriteAll(STDERR_FILENO, response.stderr()));
  RETURN_IF_ERROR(Print(response.stdout()));
  return response.exit_code();
}

void AddExec(Cli& cli) {
  auto options = std::make_shared<ExecOptions>();
  CLI::App* command = cli.AddCommand(
      "exec", "Run a command in a container and show its output: CONTAINER COMMAND [ARGUMENT...]");
  CLI::Option* interactive =
      command->add_flag("-i,--interactive", options->interactive, "Pass standard input on");
  CLI::Option* terminal =
      command->add_flag("-t,--tty", options->terminal, "Give it a terminal: this one");
  command->add_option("--timeout", options->timeout_s, "Kill it after so many seconds")
      ->check(CLI::NonNegativeNumber)
      ->excludes(interactive)
      ->excludes(terminal);
  command->add_option("CONTAINER", options->container, "Id or name")->required();
  command->prefix_command();
  command->callback([&cli, options, command] {
    options->command = command->remaining();
    if (options->command.empty()) throw CLI::RequiredError("COMMAND");
    cli.failure_exit_code = kExitRunFailed;
    cli.action = [&cli, options](Client& client) { return Exec(cli, *options, client); };
  });
}

struct AttachOptions {
  std::string container;
  bool interactive = false, terminal = false;
};

Result<int> Attach(const AttachOptions& options, Client& client) {
  ASSIGN_OR_RETURN(const rt::Container container, FindContainer(client, options.container));
  rt::AttachRequest request;
  request.set_container_id(container.id());
  WantStreams(options, request);
  ASSIGN_OR_RETURN(const auto response, client.Call(request), "attach to ", options.container);
  return RunSession(response.url(), {options.interactive, options.terminal});
}

void AddAttach(Cli& cli) {
  auto options = std::make_shared<AttachOptions>();
  CLI::App* command = cli.AddCommand("attach", "Show what a container writes from now on");
  command->add_flag("-i,--interactive", options->interactive, "Pass standard input on");
  command->add_flag("-t,--tty", options->terminal, "Be its terminal, if it has one");
  command->add_option("CONTAINER", options->container, "Id or name")->required();
  command->callback([&cli, options] {
    cli.action = [options](Client& client) { return Attach(*options, client); };
  });
}

struct ForwardedPort {
  uint16_t local = 0, remote = 0;
};

// [LOCAL:]REMOTE; LOCAL 0 is any that is free.
Result<ForwardedPort> ParseForwardedPort(std::string_view text) {
  const size_t colon = text.find(':');
  const auto local = ParseNumber<uint16_t>(text.substr(0, colon));
  const auto remote =
      colon == std::string_view::npos ? local : ParseNumber<uint16_t>(text.substr(colon + 1));
  if (!local || !remote || *remote == 0) {
    return Error(Code::kInvalidArgument,
                 StrCat("\"", Printable(text), "\" is not [LOCAL:]REMOTE, two ports"));
  }
  return ForwardedPort{*local, *remote};
}

Result<UniqueFd> ListenOnLoopback(uint16_t& port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return ErrnoError("socket");
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (bind(fd.get(), any, size) != 0 || listen(fd.get(), 64) != 0 ||
      getsockname(fd.get(), any, &size) != 0) {
    return ErrnoError(StrCat("listen on port ", port));
  }
  port = ntohs(address.sin_port);
  return fd;
}

Status ForwardOne(Client& client, const std::string& pod, uint16_t remote, UniqueFd connection) {
  rt::PortForwardRequest request;
  request.set_pod_sandbox_id(pod);
  request.add_port(remote);
  ASSIGN_OR_RETURN(const auto response, client.Call(request));
  return ForwardConnection(response.url(), std::move(connection));
}

// Serves connections until the process is ended.
[[noreturn]] void ServePort(Client& client, const std::string& pod, uint16_t remote,
                            const UniqueFd& listener) {
  while (true) {
    auto connection = AcceptSocket(listener.get());
    if (!connection.ok()) continue;
    std::thread([&client, pod, remote, fd = std::move(*connection)]() mutable {
      Status status = ForwardOne(client, pod, remote, std::move(fd));
      if (status.ok()) return;
      std::cerr << StrCat("berth: port ", remote, ": ", status.error().message(), "\n");
    }).detach();
  }
}

Result<int> Forward(const std::string& wanted, const std::vector<std::string>& ports,
                    Client& client) {
  ASSIGN_OR_RETURN(const rt::PodSandbox pod, FindPod(client, wanted));
  std::vector<std::thread> threads;
  threads.reserve(ports.size());
  std::vector<std::pair<UniqueFd, uint16_t>> listeners;
  for (const std::string& text : ports) {
    ASSIGN_OR_RETURN(ForwardedPort port, ParseForwardedPort(text));
    ASSIGN_OR_RETURN(auto listener, ListenOnLoopback(port.local));
    RETURN_IF_ERROR(Print(StrCat("127.0.0.1:", port.local, " -> ", port.remote, "\n")));
    listeners.emplace_back(std::move(listener), port.remote);
  }
  for (const auto& [listener, remote] : listeners) {
    threads.emplace_back([&client, &pod, &listener = listener, remote = remote] {
      ServePort(client, pod.id(), remote, listener);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

void AddPortForward(Cli& cli) {
  auto pod = std::make_shared<std::string>();
  auto ports = std::make_shared<std::vector<std::string>>();
  CLI::App* command = cli.AddCommand(
      "port-forward", "Make ports of a pod reachable on this machine's loopback address");
  command->add_option("POD", *pod, "Id or name")->required();
  command->add_option("PORT", *ports, "[LOCAL:]REMOTE")
      ->required()
      ->check([](const std::string& t) {
        auto parsed = ParseForwardedPort(t);
        return parsed.ok() ? std::string() : parsed.error().message();
      });
  command->callback([&cli, pod, ports] {
    cli.action = [pod, ports](Client& client) { return Forward(*pod, *ports, client); };
  });
}

}  // namespace

void AddSessionCommands(Cli& cli) {
  AddExec(cli);
  AddAttach(cli);
  AddPortForward(cli);
}

}  // namespace berth::cli
