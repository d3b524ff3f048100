// berth preload: berthd does it, since it is what knows how a store is made.
#include <unistd.h>

#include <array>

#include "base/process.h"
#include "base/strings.h"
#include "cli/command.h"

namespace berth::cli {
namespace {

struct PreloadOptions {
  std::string root, config, base_name;
  std::vector<std::string> archives, images;
};

// The one beside this program, or the first of the search path.
std::string DaemonPath() {
  std::array<char, 4096> self{};
  const ssize_t length = readlink("/proc/self/exe", self.data(), self.size());
  if (length > 0) {
    const std::string_view path(self.data(), static_cast<size_t>(length));
    std::string beside = StrCat(path.substr(0, path.rfind('/') + 1), "berthd");
    if (access(beside.c_str(), X_OK) == 0) return beside;
  }
  return "berthd";
}

Result<int> Preload(const PreloadOptions& options) {
  std::vector<std::string> args = {"berthd"};
  if (!options.config.empty()) args.insert(args.end(), {"--config", options.config});
  args.insert(args.end(), {"preload", "--root", options.root});
  for (const std::string& archive : options.archives) {
    args.insert(args.end(), {"--archive", archive});
  }
  if (!options.base_name.empty()) args.insert(args.end(), {"--base-name", options.base_name});
  if (!options.images.empty()) args.emplace_back("--");
  args.insert(args.end(), options.images.begin(), options.images.end());
  const std::string daemon = DaemonPath();
  execvp(daemon.c_str(), ExecPointers(args).data());
  return ErrnoError(StrCat("run ", daemon));
}

}  // namespace

void AddPreloadCommand(Cli& cli) {
  auto options = std::make_shared<PreloadOptions>();
  CLI::App* command = cli.app.add_subcommand(
      "preload",
      "Fill the store of a node image, from archives and registries, without a daemon. Prints ids "
      "and names");
  command->add_option("--root", options->root, "The directory that will be the daemon's root")
      ->required();
  command->add_option("--config", options->config, "Configuration of berthd, for registries");
  command
      ->add_option("--archive", options->archives,
                   "OCI layout or docker archive; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--base-name", options->base_name,
                      "Repository of images that an archive names by a tag only");
  command->add_option("IMAGE", options->images, "Images to pull");
  command->callback(
      [&cli, options] { cli.action = [options](Client&) { return Preload(*options); }; });
}

}  // namespace berth::cli
