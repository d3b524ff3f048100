#include "config/migrate_hosts.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/strings.h"
#include "config/hosts_toml.h"
#include "config/keys.h"

namespace berth::config {

namespace {

constexpr size_t kMaxDropIns = 100;
constexpr size_t kMaxRegistries = 1000;
constexpr size_t kMaxHostsBytes = 1 << 20;

// What a file that is read at every pull has to say.
std::string InHostsToml(const std::string& registry, std::string_view what) {
  return StrCat("write ", what, " into /etc/berth/certs.d/", Printable(registry), "/hosts.toml");
}

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

// The table of a mirror: [host."https://mirror.example"].
std::string HostTable(const std::string& url) {
  const bool whole = url.find("://") != std::string::npos;
  return StrCat("[host.\"", whole ? "" : "https://", Printable(url), "\"]");
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
        mirrors_.push_back(&key);
      } else if (Matches("registry/*/*", path)) {
        Field(registries_[path[1]], key);
      } else {
        ApplyRules(migrator_, Rules(), key, path);
      }
    }
    for (const ForeignKey* key : mirrors_) TakeMirror(*key);
    for (const auto& [index, registry] : registries_) TakeRegistry(registry);
  }

 private:
  static void Field(ConfiguredRegistry& registry, const ForeignKey& key) {
    registry.keys.push_back(&key);
    if (key.path[2] == "prefix") registry.prefix = Text(key.value);
    if (key.path[2] == "location") registry.location = Text(key.value);
    if (key.path[2] == "blocked") registry.blocked = key.value == true;
  }

  static const std::string& NameOf(const ConfiguredRegistry& registry) {
    return registry.prefix.empty() ? registry.location : registry.prefix;
  }

  void TakeMirror(const ForeignKey& key) {
    const std::string name = NameOf(registries_[key.path[1]]);
    migrator_.Missing(
        key, InHostsToml(name, key.path[4] == "location" ? HostTable(Text(key.value))
                                                         : "this as a key of the mirror's [host]"));
  }

  void TakeRegistry(const ConfiguredRegistry& registry) {
    for (const ForeignKey* key : registry.keys) TakeField(registry, NameOf(registry), *key);
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
      return migrator_.Missing(key, InHostsToml(name, StrCat("server = \"https://",
                                                             Printable(registry.location), "\"")));
    }
    if (field == "mirror-by-digest-only") {
      return migrator_.Missing(
          key, InHostsToml(name, "capabilities = [\"pull\"] for each of its mirrors"));
    }
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
  std::vector<const ForeignKey*> mirrors_;
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
    if (!IsOwn(Text(endpoint), registry)) mirrors.push_back(HostTable(Text(endpoint)));
    plain = plain || (IsOwn(Text(endpoint), registry) && IsPlain(Text(endpoint)));
  }
  if (!mirrors.empty()) {
    return migrator.Missing(from, InHostsToml(registry, Join(mirrors, ", ")));
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
    return migrator.Missing(from, InHostsToml(host, "client = [[\"CERTIFICATE\", \"KEY\"]]"));
  }
  migrator.Missing(from, "not known to this version of berth");
}

Status TakeCertsDirs(Migrator& migrator, const ForeignKey& from, const std::string& paths) {
  std::vector<std::string> directories;
  for (std::string_view path : Split(paths, ':')) {
    if (path.empty()) continue;
    directories.emplace_back(path);
    ASSIGN_OR_RETURN(const std::vector<std::string> registries,
                     Entries(directories.back(), kMaxRegistries,
                             [](const std::string& name) { return name[0] != '.'; }));
    for (const std::string& registry : registries) {
      const std::string directory = StrCat(path, "/", registry);
      const std::string file = directory + "/hosts.toml";
      auto text = ReadFile(file, kMaxHostsBytes);
      const bool none =
          text.code() == Code::kNotFound || (!text.ok() && text.error().sys_errno() == ENOTDIR);
      if (none) continue;
      if (!text.ok()) return std::move(text).error();
      auto servers = ParseHostsToml(*text, file, directory, "https://" + registry);
      if (!servers.ok()) return std::move(servers).error();
    }
  }
  migrator.Take(from, "image.registry_config_dirs", directories);
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
