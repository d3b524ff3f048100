// berth migrate-config: from containerd's or CRI-O's configuration to berthd's.
#include <fcntl.h>
#include <unistd.h>

#include <iostream>

#include "base/file.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/output.h"
#include "config/migrate.h"

namespace berth::cli {
namespace {

using config::Migration;
using config::MigrationNote;

struct MigrateOptions {
  std::string from;  // empty: whichever is there
  std::string file;  // empty: the usual one
  std::string out;   // empty: standard output
  bool force = false;
};

constexpr char kContainerdFile[] = "/etc/containerd/config.toml";

bool IsThere(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

Result<std::string> ChooseSource(const MigrateOptions& options) {
  if (!options.from.empty()) return options.from;
  const config::CrioSources crio;
  const bool has_containerd = IsThere(kContainerdFile);
  const bool has_crio = IsThere(crio.config) || IsThere(crio.drop_ins);
  if (has_containerd && has_crio) {
    return Error(Code::kFailedPrecondition,
                 "containerd and CRI-O are both configured: choose one with --from");
  }
  if (!has_containerd && !has_crio) {
    return Error(Code::kNotFound, StrCat("neither ", kContainerdFile, " nor ", crio.config,
                                         " is there: name a file with --from and --config"));
  }
  return std::string(has_containerd ? "containerd" : "crio");
}

Result<Migration> Migrate(const MigrateOptions& options) {
  ASSIGN_OR_RETURN(const std::string from, ChooseSource(options));
  if (from == "containerd") {
    return config::MigrateContainerd(options.file.empty() ? kContainerdFile : options.file);
  }
  config::CrioSources sources;
  if (!options.file.empty()) {
    sources.config = options.file;
    sources.drop_ins = options.file + ".d";
  }
  return config::MigrateCrio(sources);
}

// Every key of the source in one of three lists; those to be decided about come first.
std::string Report(const Migration& migration) {
  std::string out;
  auto list = [&](MigrationNote::Kind kind, const char* title) {
    std::string lines;
    for (const MigrationNote& note : migration.notes) {
      if (note.kind == kind) {
        lines += StrCat("  ", note.place, ": ", note.key, ": ", note.text, "\n");
      }
    }
    if (!lines.empty()) out += StrCat(title, "\n", lines);
  };
  list(MigrationNote::Kind::kMissing, "Without a counterpart:");
  list(MigrationNote::Kind::kTaken, "Taken:");
  list(MigrationNote::Kind::kNotNeeded, "Not needed:");
  return out;
}

Status WriteNew(const std::string& path, const std::string& text, bool force) {
  if (!force && IsThere(path)) {
    return Error(Code::kAlreadyExists, StrCat(path, " is there: --force replaces it"));
  }
  return AtomicWriteFileAt(AT_FDCWD, path, text, 0644);
}

Result<int> MigrateConfig(const MigrateOptions& options) {
  ASSIGN_OR_RETURN(const Migration migration, Migrate(options));
  const std::string toml = config::ToToml(migration);
  std::cerr << Report(migration);
  if (options.out.empty()) {
    RETURN_IF_ERROR(Print(toml));
  } else {
    RETURN_IF_ERROR(WriteNew(options.out, toml, options.force));
  }
  return 0;
}

}  // namespace

void AddMigrateCommand(Cli& cli) {
  auto options = std::make_shared<MigrateOptions>();
  CLI::App* command = cli.app.add_subcommand(
      "migrate-config", "Print berthd's configuration from containerd's or CRI-O's");
  command->add_option("--from", options->from, "Whose (default: whichever is configured)")
      ->check(CLI::IsMember({"containerd", "crio"}));
  command->add_option("--config", options->file, "Its file, where it is not the usual one");
  command->add_option("-o,--out", options->out, "The file to write (default: standard output)");
  command->add_flag("--force", options->force, "Replace files that are there");
  command->footer(
      "What becomes of each key of the source is told on standard error: those without a\n"
      "counterpart first.");
  command->callback(
      [&cli, options] { cli.action = [options](Client&) { return MigrateConfig(*options); }; });
}

}  // namespace berth::cli
