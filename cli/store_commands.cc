// berth tag, berth push, berth pulls, berth gc, berth verify.
#include <unistd.h>

#include "base/fd.h"
#include "base/strings.h"
#include "base/time.h"
#include "cli/berth_client.h"
#include "cli/command.h"
#include "cli/login.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace berth::cli {
namespace {

struct TagOptions {
  std::string image, name;
};

struct PushOptions {
  std::string image, destination;
  LoginOptions login;
};

// The answer as JSON, or what a person wants to know of it.
template <typename Message>
Status Tell(const Cli& cli, const Message& answer, const std::string& text) {
  if (!cli.json()) return Print(text);
  ASSIGN_OR_RETURN(const std::string json, ToJson(answer));
  return Print(json);
}

Result<int> TagImage(Cli& cli, const TagOptions& options, Client& client) {
  bv1::TagImageRequest request;
  request.set_image(options.image);
  request.set_name(options.name);
  BerthClient berth(client.address());
  ASSIGN_OR_RETURN(const auto response, berth.Call(request), "tag ", Printable(options.image));
  RETURN_IF_ERROR(Tell(cli, response, ""));
  return 0;
}

Result<int> PushImage(Cli& cli, const PushOptions& options, Client& client) {
  bv1::PushImageRequest request;
  request.set_image(options.image);
  request.set_destination(options.destination);
  RETURN_IF_ERROR(ReadLogin(options.login, request.mutable_auth()));
  BerthClient berth(client.address());
  ProgressView view(STDERR_FILENO);
  bv1::PushImageResponse last;
  auto pushed = berth.Stream(request, [&](const bv1::PushImageResponse& news) {
    view.Show(news.layers());
    last = news;
    return Ok();
  });
  RETURN_IF_ERROR(pushed);
  for (const std::string& warning : last.warnings()) {
    (void)WriteAll(STDERR_FILENO, StrCat("berth: ", Printable(warning, 4096), "\n"));
  }
  RETURN_IF_ERROR(Tell(cli, last, last.digest() + "\n"));
  return 0;
}

std::string PullsTable(const bv1::WatchPullsResponse& message) {
  Table table({"IMAGE", "STARTED", "LAYERS", "BYTES"});
  for (const auto& pull : message.pulls()) {
    int ended = 0;
    uint64_t done = 0;
    uint64_t total = 0;
    for (const auto& layer : pull.layers()) {
      if (layer.state() >= bv1::LAYER_DONE) ++ended;
      done += layer.done_bytes();
      total += layer.total_bytes();
    }
    table.Add({pull.reference(), HumanAge(pull.started_at(), WallNs()),
               StrCat(ended, " of ", pull.layers_size()),
               StrCat(HumanBytes(done), " of ", HumanBytes(total))});
  }
  return table.Text();
}

Result<int> ListPulls(Cli& cli, bool watch, Client& client) {
  BerthClient berth(client.address());
  bool shown = false;
  const auto ended =
      berth.Stream(bv1::WatchPullsRequest(), [&](const bv1::WatchPullsResponse& news) -> Status {
        shown = true;
        RETURN_IF_ERROR(Tell(cli, news, PullsTable(news)));
        return watch ? Ok() : Status(Error(Code::kCancelled, "seen"));
      });
  if (watch || !shown) RETURN_IF_ERROR(ended);
  return 0;
}

Result<int> CollectGarbage(Cli& cli, Client& client) {
  BerthClient berth(client.address());
  ASSIGN_OR_RETURN(const auto response, berth.Call(bv1::CollectGarbageRequest()));
  std::string text = StrCat("removed ", response.removed_layers(), " layers, ",
                            HumanBytes(response.freed_bytes()), "\n");
  if (response.forgotten_images() > 0) {
    text += StrCat("forgot ", response.forgotten_images(), " images that had lost a layer\n");
  }
  if (response.postponed()) text += "something is being pulled: the rest goes when it ends\n";
  RETURN_IF_ERROR(Tell(cli, response, text));
  return 0;
}

std::string DescribeDamage(const bv1::VerifyStoreResponse& news) {
  std::string text = StrCat(Printable(news.layer()), ": ", Printable(news.problem(), 1024), "\n");
  if (!news.store().empty()) text += StrCat("  in ", Printable(news.store(), 512), "\n");
  for (const std::string& image : news.images()) {
    text += StrCat("  image ", Printable(image, 512), "\n");
  }
  if (news.repaired()) text += "  repaired: it was pulled again\n";
  if (!news.not_repaired().empty()) {
    text += StrCat("  not repaired: ", Printable(news.not_repaired(), 1024), "\n");
  }
  return text;
}

// Exit code 0: all layers are whole, or were repaired.
Result<int> VerifyStore(Cli& cli, bool repair, Client& client) {
  bv1::VerifyStoreRequest request;
  request.set_repair(repair);
  BerthClient berth(client.address());
  uint64_t looked_at = 0;
  uint64_t damaged = 0;
  uint64_t repaired = 0;
  auto verified = berth.Stream(request, [&](const bv1::VerifyStoreResponse& news) -> Status {
    looked_at = news.done_layers();
    if (cli.json()) {
      ASSIGN_OR_RETURN(const std::string json, ToJson(news));
      RETURN_IF_ERROR(Print(json));
    }
    if (news.problem().empty()) return Ok();
    ++damaged;
    if (news.repaired()) ++repaired;
    return cli.json() ? Ok() : Print(DescribeDamage(news));
  });
  RETURN_IF_ERROR(verified, "verify");
  if (!cli.json()) {
    RETURN_IF_ERROR(
        Print(StrCat(looked_at, " layers, ", damaged, " damaged, ", repaired, " repaired\n")));
  }
  return damaged == repaired ? 0 : kExitFailed;
}

}  // namespace

void AddStoreCommands(Cli& cli) {
  auto tag = std::make_shared<TagOptions>();
  CLI::App* command = cli.AddCommand("tag", "Give an image one more name");
  command->add_option("IMAGE", tag->image, "Reference or id")->required();
  command->add_option("NAME", tag->name, "The new name")->required();
  command->callback([&cli, tag] {
    cli.action = [&cli, tag](Client& client) { return TagImage(cli, *tag, client); };
  });

  auto push = std::make_shared<PushOptions>();
  command = cli.AddCommand("push",
                           "Send an image to a registry. Prints the digest of its manifest there");
  command->add_option("IMAGE", push->image, "Reference or id")->required();
  command->add_option("DESTINATION", push->destination,
                      "The name that it gets there (default: IMAGE)");
  AddLoginOptions(command, push->login);
  command->callback([&cli, push] {
    cli.action = [&cli, push](Client& client) { return PushImage(cli, *push, client); };
  });

  auto watch = std::make_shared<bool>(false);
  command = cli.AddCommand("pulls", "List pulls under way, whoever asked for them");
  command->add_flag("-w,--watch", *watch, "Go on, and list them anew at each change");
  command->callback([&cli, watch] {
    cli.action = [&cli, watch](Client& client) { return ListPulls(cli, *watch, client); };
  });

  cli.AddCommand("gc", "Remove layers that no image and no container uses, of unfinished pulls too")
      ->callback(
          [&cli] { cli.action = [&cli](Client& client) { return CollectGarbage(cli, client); }; });

  auto repair = std::make_shared<bool>(false);
  command = cli.AddCommand("verify", "Check the layers in the store against their seals");
  command->add_flag(
      "--repair", *repair,
      "Pull damaged layers again, with what credentials the daemon has, if no container uses them");
  command->callback([&cli, repair] {
    cli.action = [&cli, repair](Client& client) { return VerifyStore(cli, *repair, client); };
  });
}

}  // namespace berth::cli
