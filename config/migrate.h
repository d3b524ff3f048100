// From the configuration of containerd or CRI-O to Berth's.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "config/foreign_toml.h"

namespace berth::config {

// What became of one key of the source. Every key gets exactly one of these.
struct MigrationNote {
  enum class Kind {
    kTaken,      // it is in the result; `text` names the key there
    kMissing,    // Berth has no counterpart; `text` says why, or what does it instead
    kNotNeeded,  // empty, off, the usual value, or what Berth always does; `text` says which
  };
  Kind kind = Kind::kMissing;
  std::string place;  // "file:line"
  std::string key;    // as in the source
  std::string text;
};

struct Migration {
  Config config;
  std::vector<MigrationNote> notes;
};

// `path` is config.toml, version 1 to 4, with what it imports and the hosts.toml files of certs.d.
// Errors as ReadForeignToml.
Result<Migration> MigrateContainerd(const std::string& path);

struct CrioSources {
  std::string config = "/etc/crio/crio.conf";
  std::string drop_ins = "/etc/crio/crio.conf.d";
  std::string registries = "/etc/containers/registries.conf";
  std::string registry_drop_ins = "/etc/containers/registries.conf.d";
};
// The drop-ins of CRI-O may be all there is; a missing registries.conf is fine.
Result<Migration> MigrateCrio(const CrioSources& sources);

// A file for /etc/berth: the keys that are not as by default, each with where it comes from.
std::string ToToml(const Migration& migration);

}  // namespace berth::config
