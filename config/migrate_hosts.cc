#include "config/migrate_hosts.h"

#include <fcntl.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/strings.h"
#include "config/keys.h"

namespace berth::config {

namespace {

constexpr size_t kMaxDropIns = 100;
constexpr size_t kMaxRegistries = 1000;
constexpr std::string_view kNoMirrors =
    "there are no mirrors: images come from the registry that their name says";
constexpr std::string_view kNoClientCertificate = "there are no client certificates";

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : "";
}

std::string KeyName(const std::string& registry, const char* key) {
  return StrCat("registry.\"", registry, "\".", key);
}

// Null if the name is not one that a registry can have here.
Registry* Find(Migrator& migrator, const std::string& name) {
  return CheckRegistryName(name).ok() ? &migrator.result().config.image.registries[name] : nullptr;
}

// "https://registry.example" is the registry's own address.
bool IsOwn(std::string url, const std::string& registry) {
  if (const size_t scheme = url.find("://"); scheme != std::string::npos) url.erase(0, scheme + 3);
  if (const size_t slash = url.find('/'); slash != std::string::npos) url.erase(slash);
  return url == registry || (registry == "docker.io" && url == "registry-1.docker.io");
}

bool IsPlain(const std::string& url) {
  return url.starts_with("http://");
}

void TakePlainHttp(Migrator& migrator, const ForeignKey& from, const std::string& name) {
  Registry* registry = Find(migrator, name);
  if (registry == nullptr) return migrator.Missing(from, "not the name of a registry");
  *registry = {.plain_http = true, .skip_verify = false, .ca_file = {}};
  migrator.Taken(from, KeyName(name, "plain_http"));
}

void TakeSkipVerify(Migrator& migrator, const ForeignKey& from, const std::string& name) {
  if (from.value != true) return migrator.NotNeeded(from, "empty or off");
  if (!SkipVerify(migrator, name)) return migrator.Missing(from, "not the name of a registry");
  migrator.Taken(from, KeyName(name, "skip_verify"));
}

void TakeCa(Migrator& migrator, const ForeignKey& from, const std::string& name) {
  const Json& value = from.value.is_array() && from.value.size() == 1 ? from.value[0] : from.value;
  if (!value.is_string()) return migrator.Missing(from, "one file with all certificates, please");
  Registry* registry = Find(migrator, name);
  const std::string file = value.get<std::string>();
  if (registry == nullptr || file.empty() || file[0] != '/') {
    return migrator.Missing(from, "not a registry with an absolute path");
  }
  if (registry->plain_http || registry->skip_verify) {
    return migrator.NotNeeded(from, "nothing is checked with it");
  }
  registry->ca_file = file;
  migrator.Taken(from, KeyName(name, "ca_file"));
}

// One key of certs.d/REGISTRY/hosts.toml.
void TakeHostsKey(Migrator& migrator, const ForeignKey& key, const std::string& registry) {
  const std::vector<std::string>& path = key.path;
  if (path[0] == "server" && path.size() == 1) {
    if (!IsOwn(Text(key.value), registry)) return migrator.Missing(key, kNoMirrors);
    if (IsPlain(Text(key.value))) return TakePlainHttp(migrator, key, registry);
    return migrator.NotNeeded(key, "the registry itself");
  }
  const bool of_host = path[0] == "host" && path.size() >= 3;
  if (of_host && !IsOwn(path[1], registry)) return migrator.Missing(key, kNoMirrors);
  const std::string& name = path[of_host ? 2 : 0];
  if (of_host && IsPlain(path[1]) && name == "capabilities") {
    return TakePlainHttp(migrator, key, registry);
  }
  if (name == "capabilities") return migrator.NotNeeded(key, "the registry itself");
  if (name == "skip_verify") return TakeSkipVerify(migrator, key, registry);
  if (name == "ca") return TakeCa(migrator, key, registry);
  if (name == "client") return migrator.Missing(key, kNoClientCertificate);
  if (name == "header") return migrator.Missing(key, "no headers are added to requests");
  if (name == "override_path") return migrator.Missing(key, "paths begin with /v2");
  if (name == "dial_timeout") return migrator.NotNeeded(key, "built in");
  migrator.Missing(key, "not known to this version of berth");
}

// What one [[registry]] of registries.conf says of itself.
struct ConfiguredRegistry {
  std::vector<const ForeignKey*> keys;
  std::string prefix, location;
  bool blocked = false;
};

class RegistriesConf {
 public:
  explicit RegistriesConf(Migrator& migrator) : migrator_(migrator) {}

  void Take(const std::vector<ForeignKey>& keys) {
    for (const ForeignKey& key : keys) {
      const std::vector<std::string>& path = key.path;
      if (Matches("registry/*/mirror/*/*", path)) {
        migrator_.Missing(key, kNoMirrors);
      } else if (Matches("registry/*/*", path)) {
        Field(registries_[path[1]], key);
      } else {
        ApplyRules(migrator_, Rules(), key, path);
      }
    }
    for (const auto& [index, registry] : registries_) TakeRegistry(registry);
  }

 private:
  static void Field(ConfiguredRegistry& registry, const ForeignKey& key) {
    registry.keys.push_back(&key);
    if (key.path[2] == "prefix") registry.prefix = Text(key.value);
    if (key.path[2] == "location") registry.location = Text(key.value);
    if (key.path[2] == "blocked") registry.blocked = key.value == true;
  }

  void TakeRegistry(const ConfiguredRegistry& registry) {
    const std::string& name = registry.prefix.empty() ? registry.location : registry.prefix;
    for (const ForeignKey* key : registry.keys) TakeField(registry, name, *key);
  }

  void TakeField(const ConfiguredRegistry& registry, const std::string& name,
                 const ForeignKey& key) {
    const std::string& field = key.path[2];
    if (registry.blocked) {
      return migrator_.Missing(key, "no registry is blocked: have admission refuse its images");
    }
    if (!CheckRegistryName(name).ok()) {
      return migrator_.Missing(key, StrCat("\"", Printable(name),
                                           "\" is not a whole registry: rules hold for a host and "
                                           "its port"));
    }
    if (field == "insecure") return TakeSkipVerify(migrator_, key, name);
    if (field == "blocked") return migrator_.NotNeeded(key, "empty or off");
    if (field == "prefix" || field == "location") {
      if (registry.location.empty() || IsOwn(registry.location, name)) {
        return migrator_.NotNeeded(key, "the registry itself");
      }
      return migrator_.Missing(key, kNoMirrors);
    }
    if (field == "mirror-by-digest-only") return migrator_.NotNeeded(key, "there are no mirrors");
    migrator_.Missing(key, "not known to this version of berth");
  }

  static const std::vector<Rule>& Rules() {
    static const std::vector<Rule> rules = {
        {.key = "unqualified-search-registries",
         .why = "a name without a registry is Docker Hub's: write names out in full",
         .usual = "[\"docker.io\"]"},
        {.key = "short-name-mode", .why = "=a name without a registry is Docker Hub's"},
        {.key = "aliases/**", .why = "write image names out in full"},
        {.key = "credential-helpers",
         .why = "credentials come with the pod, or by kubelet's credential provider"},
        {.key = "additional-layer-store-auth-helper", .why = "there is no such store"},
        {.key = "registries/**", .why = "version 1 of this file: write it as version 2 first"},
    };
    return rules;
  }

  Migrator& migrator_;
  std::map<std::string, ConfiguredRegistry> registries_;
};

Result<std::vector<std::string>> Entries(const std::string& directory, size_t max,
                                         bool (*wanted)(const std::string& name)) {
  std::vector<std::string> names;
  auto dir = Open(directory, O_RDONLY | O_DIRECTORY);
  if (!dir.ok() && dir.code() == Code::kNotFound) return names;
  if (!dir.ok()) return std::move(dir).error();
  RETURN_IF_ERROR(ForEachEntry(dir->get(), [&](const std::string& name) {
    if (wanted(name) && names.size() < max) names.push_back(name);
    return Ok();
  }));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

bool SkipVerify(Migrator& migrator, const std::string& registry) {
  Registry* found = Find(migrator, registry);
  if (found == nullptr) return false;
  if (!found->plain_http) *found = {.plain_http = false, .skip_verify = true, .ca_file = {}};
  return true;
}

void TakeMirrors(Migrator& migrator, const ForeignKey& from, const std::string& registry) {
  if (!from.value.is_array() || from.value.empty()) return migrator.NotNeeded(from, "empty");
  std::vector<std::string> mirrors;
  bool plain = false;
  for (const Json& endpoint : from.value) {
    if (!IsOwn(Text(endpoint), registry)) mirrors.push_back(Printable(ToText(endpoint)));
    plain = plain || (IsOwn(Text(endpoint), registry) && IsPlain(Text(endpoint)));
  }
  if (!mirrors.empty()) {
    return migrator.Missing(from, StrCat(kNoMirrors, "; left out: ", Join(mirrors, ", ")));
  }
  if (plain) return TakePlainHttp(migrator, from, registry);
  migrator.NotNeeded(from, "the registry itself");
}

void TakeTls(Migrator& migrator, const ForeignKey& from, const std::string& host,
             const std::string& key) {
  if (key == "insecure_skip_verify") return TakeSkipVerify(migrator, from, host);
  if (IsEmptyText(from.value)) return migrator.NotNeeded(from, "empty or off");
  if (key == "ca_file") return TakeCa(migrator, from, host);
  if (key == "cert_file" || key == "key_file") {
    return migrator.Missing(from, kNoClientCertificate);
  }
  migrator.Missing(from, "not known to this version of berth");
}

Status TakeCertsDirs(Migrator& migrator, const ForeignKey& from, const std::string& paths) {
  size_t files = 0;
  for (std::string_view path : Split(paths, ':')) {
    if (path.empty()) continue;
    ASSIGN_OR_RETURN(const std::vector<std::string> registries,
                     Entries(std::string(path), kMaxRegistries,
                             [](const std::string& name) { return name[0] != '.'; }));
    for (const std::string& registry : registries) {
      auto keys = ReadForeignToml(StrCat(path, "/", registry, "/hosts.toml"));
      if (!keys.ok() && keys.code() == Code::kInvalidArgument) return std::move(keys).error();
      if (!keys.ok()) continue;
      ++files;
      // "registry.example_5000_" stands for a port where a file's name has no colon.
      std::string name = registry;
      const size_t line = name.size() > 1 ? name.rfind('_', name.size() - 2) : std::string::npos;
      if (name.ends_with('_') && line != std::string::npos) {
        name = StrCat(name.substr(0, line), ":", name.substr(line + 1, name.size() - line - 2));
      }
      for (const ForeignKey& key : *keys) TakeHostsKey(migrator, key, name);
    }
  }
  migrator.Taken(from, StrCat("registry: ", files, " hosts.toml read"));
  return Ok();
}

Result<std::vector<std::string>> TomlOrConfFiles(const std::string& directory) {
  ASSIGN_OR_RETURN(std::vector<std::string> files,
                   Entries(directory, kMaxDropIns, [](const std::string& name) {
                     return name[0] != '.' && (name.ends_with(".conf") || name.ends_with(".toml"));
                   }));
  for (std::string& file : files) file = StrCat(directory, "/", file);
  return files;
}

Status TakeRegistriesConf(Migrator& migrator, const std::string& path,
                          const std::string& drop_ins) {
  ASSIGN_OR_RETURN(std::vector<std::string> files, TomlOrConfFiles(drop_ins));
  files.insert(files.begin(), path);
  for (const std::string& file : files) {
    auto keys = ReadForeignToml(file);
    if (!keys.ok() && keys.code() == Code::kNotFound) continue;
    if (!keys.ok()) return std::move(keys).error();
    RegistriesConf(migrator).Take(*keys);
  }
  return Ok();
}

}  // namespace berth::config
