#include "runtime/oci_bundle.h"

#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "runtime/invalid_field.h"
#include "runtime/user_namespace.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxBundleFileBytes = 32 << 20;

Error Refuse(std::string_view field, std::string_view why) {
  return InvalidField(field, StrCat(why, ": use the built-in runtime handler"));
}

Status WriteProcess(int dir, Json process) {
  for (const char* key : {"args", "env", "terminal"}) process.erase(key);
  return AtomicWriteFileAt(dir, shim::wire::kOciProcessName, ToText(process), 0600);
}

Status WriteConfig(int dir, const Json& config) {
  RETURN_IF_ERROR(AtomicWriteFileAt(dir, shim::wire::kOciConfigName, ToText(config), 0600));
  return WriteProcess(dir, config.at("process"));
}

}  // namespace

Status CheckOciContainer(const PodConfig& pod, const ContainerConfig& config,
                         const HandlerFeatures& features) {
  if (HasUserNamespace(pod.security.namespaces)) {
    return Refuse("userns_options", "not possible with an OCI runtime");
  }
  for (const EnvVar& env : config.envs) {
    if (!IsUtf8(env.key) || !IsUtf8(env.value)) {
      return Refuse(StrCat("envs: ", Printable(env.key, 64)),
                    "a value that is not UTF-8 cannot be given to an OCI runtime");
    }
  }
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    const Mount& mount = config.mounts[i];
    const std::string field = StrCat("mounts[", i, "]");
    if (mount.recursive_read_only && !features.recursive_read_only_mounts) {
      return Refuse(StrCat(field, ".recursive_read_only"), "this OCI runtime does not know it");
    }
    if (!mount.uid_mappings.empty() || !mount.gid_mappings.empty()) {
      return Refuse(StrCat(field, ".uidMappings"), "not possible with an OCI runtime");
    }
  }
  return Ok();
}

Status WriteOciBundle(int container_dir, const std::string& path, OciSpec spec,
                      const std::string& seccomp_json) {
  size_t images = 0;
  for (OciMount& mount : spec.mounts) {
    if (mount.type != "image") continue;
    mount.type = "bind";
    mount.source = StrCat(path, "/", shim::wire::kOciImagePrefix, images++);
    mount.options.emplace_back("bind");
  }
  ASSIGN_OR_RETURN(Json config, ParseJson(OciSpecJson(spec)));
  if (!spec.hooks.empty()) {
    // For crun, which would not tell why one has failed.
    const std::string log = StrCat(path, "/", shim::wire::kOciHooksLogName);
    config["annotations"] = {{"run.oci.hooks.stdout", log}, {"run.oci.hooks.stderr", log}};
  }
  if (!seccomp_json.empty()) {
    ASSIGN_OR_RETURN(config["linux"]["seccomp"], ParseJson(seccomp_json));
  }
  return WriteConfig(container_dir, config);
}

Status WriteHookBundle(int container_dir, const OciSpec& spec) {
  RETURN_IF_ERROR(MakeDirAt(container_dir, shim::wire::kOciRootName, 0755));
  return AtomicWriteFileAt(container_dir, shim::wire::kOciConfigName, OciSpecJson(spec), 0600);
}

Status UpdateOciBundle(int container_dir, const LinuxResources& resources) {
  ASSIGN_OR_RETURN(std::string text,
                   ReadFileAt(container_dir, shim::wire::kOciConfigName, kMaxBundleFileBytes));
  ASSIGN_OR_RETURN(Json config, ParseJson(text));
  OciSpec changed;
  changed.resources = resources;
  ASSIGN_OR_RETURN(Json fresh, ParseJson(OciSpecJson(changed)));
  Json& limits = config["linux"]["resources"];
  fresh["linux"]["resources"]["devices"] = limits["devices"];
  limits = fresh["linux"]["resources"];
  config["process"]["oomScoreAdj"] = resources.oom_score_adj;
  return WriteConfig(container_dir, config);
}

}  // namespace berth::runtime
