// Registries: what berth has keys for, from containerd's and CRI-O's configuration. hosts.toml
// files are used where they are; what else there is on mirrors is told with what to write into such
// a file.
#pragma once

#include <string>
#include <vector>

#include "config/migrator.h"

namespace berth::config {

// plugins.cri.registry.mirrors."NAME".endpoint: a list of URLs.
void TakeMirrors(Migrator& migrator, const ForeignKey& from, const std::string& registry);
// plugins.cri.registry.configs."HOST".tls.KEY
void TakeTls(Migrator& migrator, const ForeignKey& from, const std::string& host,
             const std::string& key);
// plugins.cri.registry.config_path: directories with ':' between them, which have hosts.toml files.
// A file that pulls would refuse is InvalidArgument with its line.
Status TakeCertsDirs(Migrator& migrator, const ForeignKey& from, const std::string& paths);

// The *.conf and *.toml of a directory, by name; none if it is missing.
Result<std::vector<std::string>> TomlOrConfFiles(const std::string& directory);

// registries.conf(5), version 2, and its drop-ins. Missing files are fine.
Status TakeRegistriesConf(Migrator& migrator, const std::string& path, const std::string& drop_ins);

// Any certificate will do for that registry. False if the name is not one of a registry.
bool SkipVerify(Migrator& migrator, const std::string& registry);

}  // namespace berth::config
