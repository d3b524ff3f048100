// berthd: serves until SIGTERM or SIGINT. Containers outlive it.

#include <glog/logging.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <thread>

#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/logging.h"
#include "daemon/memory.h"
#include "daemon/preload.h"
#include "daemon/service.h"

namespace berth::daemon {
namespace {

constexpr char kDefaultConfig[] = "/etc/berth/config.toml";

// What the command line says.
struct Arguments {
  std::string config_file;
  // Values of flags by the key that they set.
  std::map<std::string, std::string> overrides;
  std::string checked_file = kDefaultConfig;
};

int Fail(const Error& error) {
  fprintf(stderr, "berthd: %s\n", error.message().c_str());
  return 1;
}

void TrimNowAndThen(EventLoop& loop) {
  constexpr int64_t kIntervalMs = 30'000;
  TrimMemory();
  loop.PostAfterMs(kIntervalMs, [&loop] { TrimNowAndThen(loop); });
}

// The statistics keep some ten files open for each pod. Containers have limits of their own.
void AllowManyFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    LOG(WARNING) << ErrnoError("raise the limit of open files").message();
  }
}

// Everything outside is recorded before it is done, so ending in the midst of it is always allowed;
// better than to be late because of a call that is stuck.
void ExitIfStopHangs() {
  constexpr unsigned kLimitSeconds = 15;
  std::thread([] {
    sleep(kLimitSeconds);
    LOG(WARNING) << "calls still under way after " << kLimitSeconds << " s are left to recovery";
    _exit(0);
  }).detach();
}

Result<config::Config> LoadConfig(const Arguments& arguments) {
  bool named = !arguments.config_file.empty();
  ASSIGN_OR_RETURN(auto config,
                   config::Load(named ? arguments.config_file : kDefaultConfig, named));
  for (const auto& [key, value] : arguments.overrides) {
    RETURN_IF_ERROR(config::Set(config, key, value), "command line");
  }
  return config;
}

int Serve(const Arguments& arguments) {
  auto config = LoadConfig(arguments);
  if (!config.ok()) return Fail(config.error());
  if (geteuid() != 0) {
    return Fail({Code::kPermissionDenied, "it makes namespaces and mounts: run it as root"});
  }
  ServiceManager manager(config->listen);
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  StartLogging("berthd", config->log_level);
  AllowManyFiles();

  const std::string listen = config->listen;
  manager.Starting();
  auto daemon = Daemon::Start(std::move(*config));
  if (!daemon.ok()) {
    LOG(ERROR) << "cannot start: " << daemon.error().message();
    manager.Failed(daemon.error());
    return 1;
  }
  LOG(INFO) << "berthd " << BERTH_VERSION << " serves " << listen;
  manager.Ready();

  ForgetStartup();
  TrimNowAndThen((*daemon)->loop());

  const int number = manager.Serve(**daemon, [&] { return LoadConfig(arguments); });
  LOG(INFO) << "stopping on signal " << number << "; containers run on";
  ExitIfStopHangs();
  (*daemon)->Stop();
  return 0;
}

int PrintDefaultConfig() {
  fputs(config::DefaultToml().c_str(), stdout);
  return 0;
}

int CheckConfig(const std::string& file) {
  auto config = config::Load(file, true);
  if (!config.ok()) return Fail(config.error());
  printf("%s: ok\n", file.c_str());
  return 0;
}

void AddOverride(CLI::App& app, Arguments& arguments, const std::string& flag,
                 const std::string& key, const std::string& help) {
  app.add_option_function<std::string>(
      flag, [&arguments, key](const std::string& value) { arguments.overrides[key] = value; },
      help);
}

// SOURCE_DATE_EPOCH, as tools that make reproducible things have it; 1970 without it.
Result<int64_t> ReproducibleTimeNs() {
  const char* text = getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr) return 0;
  const auto seconds = ParseNumber<uint32_t>(text);
  if (!seconds) {
    return Error(Code::kInvalidArgument,
                 StrCat("SOURCE_DATE_EPOCH: \"", Printable(text), "\" is no time in seconds"));
  }
  return int64_t{*seconds} * 1'000'000'000;
}

Result<std::string> PreloadImages(const Arguments& arguments, PreloadRequest request) {
  ASSIGN_OR_RETURN(const auto config, LoadConfig(arguments));
  if (geteuid() != 0) {
    return Error(Code::kPermissionDenied, "it makes files of every owner: run it as root");
  }
  if (request.references.empty() && request.archives.empty()) {
    return Error(Code::kInvalidArgument, "preload: neither an image nor an --archive");
  }
  ASSIGN_OR_RETURN(request.time_ns, ReproducibleTimeNs());
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  StartLogging("berthd", config.log_level);
  return Preload(config, request);
}

void AddPreload(CLI::App& app, Arguments& arguments, PreloadRequest& request) {
  CLI::App* preload =
      app.add_subcommand("preload", "Fill the store of a node image: no daemon runs, or is needed");
  AddOverride(*preload, arguments, "--root", "root", "directory of images and containers");
  preload
      ->add_option("--archive", request.archives,
                   "OCI layout or docker archive: a directory or a tar, plain or compressed")
      ->allow_extra_args(false);
  preload->add_option("--base-name", request.base_name,
                      "repository of images that an archive names by a tag only");
  preload->add_option("IMAGE", request.references, "images to pull from registries");
}

int Main(int argc, char** argv) {
  CLI::App app("Berth, a Kubernetes node runtime: serves CRI v1 on a unix socket.", "berthd");
  Arguments arguments;
  app.set_version_flag("--version", "berthd " BERTH_VERSION);
  app.add_option(
      "--config", arguments.config_file,
      StrCat("configuration file, with conf.d beside it (default ", kDefaultConfig, ")"));
  AddOverride(app, arguments, "--root", "root", "directory of images and containers");
  AddOverride(app, arguments, "--state", "state", "directory of what a reboot ends");
  AddOverride(app, arguments, "--listen", "listen", "unix socket to serve on");
  AddOverride(app, arguments, "--log-level", "log_level", "0 all, 1 warnings and errors, 2 errors");

  CLI::App* config = app.add_subcommand("config", "Show or check the configuration");
  config->require_subcommand(1);
  CLI::App* show = config->add_subcommand("default", "Print the defaults as a commented file");
  CLI::App* check = config->add_subcommand("check", "Check a file and the drop-ins beside it");
  check->add_option("file", arguments.checked_file, "the file")->capture_default_str();
  PreloadRequest preload;
  AddPreload(app, arguments, preload);
  CLI11_PARSE(app, argc, argv);

  if (app.got_subcommand("preload")) {
    auto text = PreloadImages(arguments, std::move(preload));
    if (!text.ok()) return Fail(text.error());
    fputs(text->c_str(), stdout);
    return 0;
  }
  if (show->parsed()) return PrintDefaultConfig();
  if (check->parsed()) return CheckConfig(arguments.checked_file);
  return Serve(arguments);
}

}  // namespace
}  // namespace berth::daemon

int main(int argc, char** argv) {
  berth::daemon::KeepHeapSmall();
  try {
    return berth::daemon::Main(argc, argv);
  } catch (const std::exception& e) {  // of the standard library: memory is short
    fprintf(stderr, "berthd: %s\n", e.what());
    return 1;
  }
}
