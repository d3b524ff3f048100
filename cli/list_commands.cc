// berth ps, berth pods, berth stats, berth inspect.
#include <algorithm>
#include <array>
#include <cstdio>

#include "base/strings.h"
#include "base/time.h"
#include "cli/command.h"
#include "cli/find.h"
#include "cli/output.h"

namespace berth::cli {
namespace {

std::string StateName(rt::ContainerState state) {
  constexpr std::string_view kPrefix = "CONTAINER_";
  return ToLower(std::string_view(rt::ContainerState_Name(state)).substr(kPrefix.size()));
}

// What users typed, where the runtime kept it.
std::string ImageName(const rt::Container& container) {
  const rt::ImageSpec& image = container.image();
  if (!image.user_specified_image().empty()) return image.user_specified_image();
  return image.image().starts_with("sha256:") ? ShortId(image.image()) : image.image();
}

Result<int> Ps(Cli& cli, bool all, Client& client) {
  rt::ListContainersRequest request;
  if (!all) request.mutable_filter()->mutable_state()->set_state(rt::CONTAINER_RUNNING);
  ASSIGN_OR_RETURN(auto list, client.Call(request));
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(list));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  auto& containers = *list.mutable_containers();
  std::sort(containers.begin(), containers.end(),
            [](const auto& a, const auto& b) { return a.created_at() > b.created_at(); });
  Table table({"CONTAINER", "NAME", "IMAGE", "STATE", "CREATED", "POD"});
  for (const auto& container : containers) {
    table.Add({ShortId(container.id()), container.metadata().name(), ImageName(container),
               StateName(container.state()), HumanAge(container.created_at(), WallNs()),
               ShortId(container.pod_sandbox_id())});
  }
  RETURN_IF_ERROR(Print(table.Text()));
  return 0;
}

Result<int> Pods(Cli& cli, Client& client) {
  ASSIGN_OR_RETURN(auto list, client.Call(rt::ListPodSandboxRequest()));
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(list));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  auto& pods = *list.mutable_items();
  std::sort(pods.begin(), pods.end(),
            [](const auto& a, const auto& b) { return a.created_at() > b.created_at(); });
  Table table({"POD", "NAME", "NAMESPACE", "STATE", "CREATED", "ADDRESS"});
  for (const auto& pod : pods) {
    rt::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(pod.id());
    // It may have gone since it was listed.
    auto status = client.Call(request);
    const std::string address = status.ok() ? status->status().network().ip() : "";
    table.Add({ShortId(pod.id()), pod.metadata().name(), pod.metadata().namespace_(),
               pod.state() == rt::SANDBOX_READY ? "ready" : "not ready",
               HumanAge(pod.created_at(), WallNs()), address.empty() ? "-" : address});
  }
  RETURN_IF_ERROR(Print(table.Text()));
  return 0;
}

std::string CpuPercent(const rt::CpuUsage& cpu) {
  if (!cpu.has_usage_nano_cores()) return "-";
  std::array<char, 32> text{};
  snprintf(text.data(), text.size(), "%.2f%%",
           static_cast<double>(cpu.usage_nano_cores().value()) / 1e7);
  return text.data();
}

Result<int> Stats(Cli& cli, Client& client) {
  ASSIGN_OR_RETURN(const auto list, client.Call(rt::ListContainerStatsRequest()));
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(list));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  Table table({"CONTAINER", "NAME", "CPU", "CPU TIME", "MEMORY", "WRITTEN"});
  for (const auto& stats : list.stats()) {
    table.Add({ShortId(stats.attributes().id()), stats.attributes().metadata().name(),
               CpuPercent(stats.cpu()),
               StrCat(stats.cpu().usage_core_nano_seconds().value() / 1'000'000, " ms"),
               HumanBytes(stats.memory().working_set_bytes().value()),
               HumanBytes(stats.writable_layer().used_bytes().value())});
  }
  RETURN_IF_ERROR(Print(table.Text()));
  return 0;
}

// Always JSON: there is too much for a table.
Result<int> Inspect(const std::string& wanted, Client& client) {
  auto container = FindContainer(client, wanted);
  std::string json;
  if (container.ok()) {
    rt::ContainerStatusRequest request;
    request.set_container_id(container->id());
    request.set_verbose(true);
    ASSIGN_OR_RETURN(const auto status, client.Call(request));
    ASSIGN_OR_RETURN(json, ToJson(status));
  } else if (container.code() == Code::kNotFound) {
    auto pod = FindPod(client, wanted);
    if (!pod.ok()) {
      return Error(pod.code(), StrCat("no container or pod \"", Printable(wanted), "\""));
    }
    rt::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(pod->id());
    request.set_verbose(true);
    ASSIGN_OR_RETURN(const auto status, client.Call(request));
    ASSIGN_OR_RETURN(json, ToJson(status));
  } else {
    return std::move(container).error();
  }
  RETURN_IF_ERROR(Print(json));
  return 0;
}

}  // namespace

void AddListCommands(Cli& cli) {
  auto all = std::make_shared<bool>(false);
  CLI::App* command = cli.AddCommand("ps", "List running containers");
  command->add_flag("-a,--all", *all, "Also those that do not run");
  command->callback(
      [&cli, all] { cli.action = [&cli, all](Client& client) { return Ps(cli, *all, client); }; });
  cli.AddCommand("pods", "List pods")->callback([&cli] {
    cli.action = [&cli](Client& client) { return Pods(cli, client); };
  });
  cli.AddCommand("stats", "Show what containers use")->callback([&cli] {
    cli.action = [&cli](Client& client) { return Stats(cli, client); };
  });
  auto wanted = std::make_shared<std::string>();
  command = cli.AddCommand("inspect", "Show all about a container or a pod, as JSON");
  command->add_option("CONTAINER|POD", *wanted, "Id or name")->required();
  command->callback([&cli, wanted] {
    cli.action = [wanted](Client& client) { return Inspect(*wanted, client); };
  });
}

}  // namespace berth::cli
