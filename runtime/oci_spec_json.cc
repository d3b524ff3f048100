#include "base/json.h"
#include "runtime/oci_spec.h"

namespace berth::runtime {

namespace {

Json UserJson(const OciProcess& process) {
  return {{"uid", process.user.uid},
          {"gid", process.user.gid},
          {"umask", process.umask},
          {"additionalGids", process.user.supplemental_groups}};
}

Json ProcessJson(const OciProcess& process) {
  const OciCapabilities& caps = process.capabilities;
  Json json = {{"terminal", process.terminal},
               {"user", UserJson(process)},
               {"args", process.args},
               {"env", process.env},
               {"cwd", process.cwd},
               {"capabilities",
                {{"bounding", caps.bounding},
                 {"effective", caps.effective},
                 {"permitted", caps.permitted},
                 {"inheritable", caps.inheritable},
                 {"ambient", caps.ambient}}},
               {"noNewPrivileges", process.no_new_privileges},
               {"oomScoreAdj", process.oom_score_adj}};
  Json& rlimits = json["rlimits"] = Json::array();
  for (const OciRlimit& limit : process.rlimits) {
    rlimits.push_back({{"type", limit.type}, {"soft", limit.soft}, {"hard", limit.hard}});
  }
  if (!process.apparmor_profile.empty()) json["apparmorProfile"] = process.apparmor_profile;
  if (!process.selinux_label.empty()) json["selinuxLabel"] = process.selinux_label;
  return json;
}

Json MappingsJson(const std::vector<IdMapping>& mappings) {
  Json list = Json::array();
  for (const IdMapping& mapping : mappings) {
    list.push_back({{"containerID", mapping.container_id},
                    {"hostID", mapping.host_id},
                    {"size", mapping.length}});
  }
  return list;
}

Json MountsJson(const std::vector<OciMount>& mounts) {
  Json list = Json::array();
  for (const OciMount& mount : mounts) {
    Json item = {{"destination", mount.destination},
                 {"type", mount.type},
                 {"source", mount.source},
                 {"options", mount.options}};
    if (!mount.uid_mappings.empty()) item["uidMappings"] = MappingsJson(mount.uid_mappings);
    if (!mount.gid_mappings.empty()) item["gidMappings"] = MappingsJson(mount.gid_mappings);
    list.push_back(std::move(item));
  }
  return list;
}

Json NamespacesJson(const std::vector<OciNamespace>& namespaces) {
  Json list = Json::array();
  for (const OciNamespace& ns : namespaces) {
    Json item = {{"type", ns.type}};
    if (!ns.path.empty()) item["path"] = ns.path;
    list.push_back(std::move(item));
  }
  return list;
}

Json DevicesJson(const std::vector<OciDevice>& devices) {
  Json list = Json::array();
  for (const OciDevice& device : devices) {
    list.push_back({{"path", device.path},
                    {"type", std::string(1, device.type)},
                    {"major", device.major},
                    {"minor", device.minor},
                    {"fileMode", device.file_mode},
                    {"uid", device.uid},
                    {"gid", device.gid}});
  }
  return list;
}

Json RulesJson(const std::vector<DeviceRule>& rules) {
  Json list = Json::array();
  for (const DeviceRule& rule : rules) {
    Json item = {
        {"allow", rule.allow}, {"type", std::string(1, rule.type)}, {"access", rule.access}};
    if (rule.major >= 0) item["major"] = rule.major;
    if (rule.minor >= 0) item["minor"] = rule.minor;
    list.push_back(std::move(item));
  }
  return list;
}

Json HooksJson(const std::vector<OciHook>& hooks) {
  Json json = Json::object();
  for (const OciHook& hook : hooks) {
    Json item = {{"path", hook.path}, {"env", hook.env}};
    if (!hook.args.empty()) item["args"] = hook.args;
    if (hook.timeout_s != 0) item["timeout"] = hook.timeout_s;
    json[hook.name].push_back(std::move(item));
  }
  return json;
}

template <typename T>
void SetUnlessZero(Json& object, const char* key, T value) {
  if (value != T{}) object[key] = value;
}

Json ResourcesJson(const LinuxResources& resources, const std::vector<DeviceRule>& rules) {
  Json cpu = Json::object();
  SetUnlessZero(cpu, "period", resources.cpu_period_us);
  SetUnlessZero(cpu, "quota", resources.cpu_quota_us);
  SetUnlessZero(cpu, "shares", resources.cpu_shares);
  SetUnlessZero(cpu, "cpus", resources.cpuset_cpus);
  SetUnlessZero(cpu, "mems", resources.cpuset_mems);
  Json memory = Json::object();
  SetUnlessZero(memory, "limit", resources.memory_limit_bytes);
  SetUnlessZero(memory, "swap", resources.memory_swap_limit_bytes);
  Json json = {{"devices", RulesJson(rules)}, {"cpu", cpu}, {"memory", memory}};
  for (const auto& [page_size, limit] : resources.hugepage_limits) {
    json["hugepageLimits"].push_back({{"pageSize", page_size}, {"limit", limit}});
  }
  if (!resources.unified.empty()) json["unified"] = resources.unified;
  return json;
}

}  // namespace

std::string OciSpecJson(const OciSpec& spec) {
  Json linux_json = {{"namespaces", NamespacesJson(spec.namespaces)},
                     {"devices", DevicesJson(spec.devices)},
                     {"cgroupsPath", spec.cgroups_path},
                     {"resources", ResourcesJson(spec.resources, spec.device_rules)},
                     {"maskedPaths", spec.masked_paths},
                     {"readonlyPaths", spec.readonly_paths},
                     {"rootfsPropagation", spec.rootfs_propagation}};
  if (!spec.uid_mappings.empty()) {
    linux_json["uidMappings"] = MappingsJson(spec.uid_mappings);
    linux_json["gidMappings"] = MappingsJson(spec.gid_mappings);
  }
  if (!spec.mount_label.empty()) linux_json["mountLabel"] = spec.mount_label;
  Json json = {{"ociVersion", "1.1.0"},
               {"process", ProcessJson(spec.process)},
               {"root", {{"path", "rootfs"}, {"readonly", spec.root_readonly}}},
               {"mounts", MountsJson(spec.mounts)},
               {"linux", std::move(linux_json)}};
  if (!spec.hooks.empty()) json["hooks"] = HooksJson(spec.hooks);
  if (!spec.hostname.empty()) json["hostname"] = spec.hostname;
  return ToText(json);
}

}  // namespace berth::runtime
