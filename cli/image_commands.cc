// berth pull, berth images, berth rmi.
#include <unistd.h>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/login.h"
#include "cli/output.h"
#include "cli/pull.h"

namespace berth::cli {
namespace {

struct PullOptions {
  std::string image;
  LoginOptions login;
};

Result<int> PullImage(Cli& cli, const PullOptions& options, Client& client) {
  rt::PullImageRequest request;
  request.mutable_image()->set_image(options.image);
  RETURN_IF_ERROR(ReadLogin(options.login, request.mutable_auth()));
  ASSIGN_OR_RETURN(const std::string image_ref, Pull(client, request));
  if (cli.json()) {
    rt::PullImageResponse response;
    response.set_image_ref(image_ref);
    ASSIGN_OR_RETURN(const std::string json, ToJson(response));
    RETURN_IF_ERROR(Print(json));
  } else {
    RETURN_IF_ERROR(Print(image_ref + "\n"));
  }
  return 0;
}

// "repository:tag" as table cells; an image without a tag is shown by its repository alone.
std::pair<std::string, std::string> NameAndTag(const rt::Image& image) {
  if (image.repo_tags_size() > 0) {
    const std::string& tag = image.repo_tags(0);
    const size_t colon = tag.rfind(':');
    if (colon == std::string::npos) return {tag, ""};
    return {tag.substr(0, colon), tag.substr(colon + 1)};
  }
  if (image.repo_digests_size() > 0) {
    const std::string& digest = image.repo_digests(0);
    return {digest.substr(0, digest.find('@')), "-"};
  }
  return {"-", "-"};
}

Result<int> Images(Cli& cli, Client& client) {
  ASSIGN_OR_RETURN(const auto list, client.Call(rt::ListImagesRequest()));
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(list));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  Table table({"IMAGE", "TAG", "ID", "SIZE"});
  for (const auto& image : list.images()) {
    const auto [name, tag] = NameAndTag(image);
    table.Add({name, tag, ShortId(image.id()), HumanBytes(image.size())});
  }
  RETURN_IF_ERROR(Print(table.Text()));
  return 0;
}

Result<int> RemoveImages(const std::vector<std::string>& images, Client& client) {
  for (const std::string& image : images) {
    // RemoveImage succeeds for what is not there; a person who mistypes wants to know.
    rt::ImageStatusRequest status;
    status.mutable_image()->set_image(image);
    ASSIGN_OR_RETURN(const auto found, client.Call(status), "look for ", Printable(image));
    if (!found.has_image()) {
      return Error(Code::kNotFound, StrCat("no image \"", Printable(image), "\""));
    }
    rt::RemoveImageRequest request;
    request.mutable_image()->set_image(image);
    RETURN_IF_ERROR(client.Call(request), "remove ", Printable(image));
  }
  return 0;
}

}  // namespace

void AddImageCommands(Cli& cli) {
  auto pull = std::make_shared<PullOptions>();
  CLI::App* command = cli.AddCommand(
      "pull",
      "Pull an image. Standard error shows the bytes and the state of each layer meanwhile");
  command->add_option("IMAGE", pull->image, "Image reference")->required();
  AddLoginOptions(command, pull->login);
  command->callback([&cli, pull] {
    cli.action = [&cli, pull](Client& client) { return PullImage(cli, *pull, client); };
  });

  cli.AddCommand("images", "List images")->callback([&cli] {
    cli.action = [&cli](Client& client) { return Images(cli, client); };
  });

  auto images = std::make_shared<std::vector<std::string>>();
  command = cli.AddCommand("rmi", "Remove images");
  command->add_option("IMAGE", *images, "References or ids")->required();
  command->callback([&cli, images] {
    cli.action = [images](Client& client) { return RemoveImages(*images, client); };
  });
}

}  // namespace berth::cli
