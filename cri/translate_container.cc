#include "cri/signals.h"
#include "cri/translate_common.h"

namespace berth::cri {

namespace {

constexpr std::string_view kSecurityField = "config.linux.security_context";

runtime::ImageSpec ImageSpecOf(const pb::ImageSpec& spec) {
  runtime::ImageSpec out;
  out.image = spec.image();
  out.annotations = MapOf(spec.annotations());
  out.user_specified_image = spec.user_specified_image();
  out.runtime_handler = spec.runtime_handler();
  out.image_ref = spec.image_ref();
  return out;
}

Result<runtime::Mount> MountOf(const pb::Mount& mount, const std::string& field) {
  if (mount.container_path().empty()) return Bad(StrCat(field, ".container_path"), "missing");
  bool has_image = !mount.image().image().empty();
  if (mount.host_path().empty() && !has_image) return Bad(StrCat(field, ".host_path"), "missing");
  if (!mount.image_sub_path().empty() && !has_image) {
    return Bad(StrCat(field, ".image_sub_path"), "needs image");
  }
  if (!mount.host_path().empty() && has_image) {
    return Bad(StrCat(field, ".image"), "cannot go with host_path");
  }
  if (!pb::MountPropagation_IsValid(mount.propagation())) {
    return Bad(StrCat(field, ".propagation"), "not a propagation that CRI knows");
  }
  if (mount.recursive_read_only() && !mount.readonly()) {
    return Bad(StrCat(field, ".recursive_read_only"), "needs readonly");
  }
  if (mount.recursive_read_only() && mount.propagation() != pb::PROPAGATION_PRIVATE) {
    return Bad(StrCat(field, ".recursive_read_only"), "needs propagation PROPAGATION_PRIVATE");
  }
  runtime::Mount out;
  out.container_path = mount.container_path();
  out.host_path = mount.host_path();
  out.readonly = mount.readonly();
  out.selinux_relabel = mount.selinux_relabel();
  out.propagation = static_cast<runtime::MountPropagation>(mount.propagation());
  out.uid_mappings = MappingsOf(mount.uidmappings());
  out.gid_mappings = MappingsOf(mount.gidmappings());
  out.recursive_read_only = mount.recursive_read_only();
  if (has_image) out.image = ImageSpecOf(mount.image());
  out.image_sub_path = mount.image_sub_path();
  out.mount_options = ListOf(mount.mount_options());
  return out;
}

Status ReadProcess(const pb::ContainerConfig& config, runtime::ContainerConfig& out) {
  size_t total = 0;
  auto count = [&](size_t bytes, std::string_view field) -> Status {
    total += bytes + 1;
    return CheckArgumentSize(bytes, field);
  };
  for (const std::string& part : config.command()) {
    RETURN_IF_ERROR(count(part.size(), "config.command"));
    out.command.push_back(part);
  }
  for (const std::string& part : config.args()) {
    RETURN_IF_ERROR(count(part.size(), "config.args"));
    out.args.push_back(part);
  }
  for (const pb::KeyValue& env : config.envs()) {
    RETURN_IF_ERROR(count(env.key().size() + 1 + env.value().size(),
                          StrCat("config.envs: ", Printable(env.key(), 64))));
    out.envs.push_back({env.key(), env.value()});
  }
  if (total > kMaxArgumentBytes) {
    return Bad("config", StrCat("command, args and envs are ", total, " bytes together, at most ",
                                kMaxArgumentBytes, " are possible"));
  }
  return Ok();
}

Status ReadMountsAndDevices(const pb::ContainerConfig& config, runtime::ContainerConfig& out) {
  for (const pb::Mount& mount : config.mounts()) {
    ASSIGN_OR_RETURN(auto one, MountOf(mount, StrCat("config.mounts[", out.mounts.size(), "]")));
    out.mounts.push_back(std::move(one));
  }
  for (const pb::Device& device : config.devices()) {
    std::string field = StrCat("config.devices[", out.devices.size(), "]");
    if (device.host_path().empty()) return Bad(StrCat(field, ".host_path"), "missing");
    out.devices.push_back({device.container_path(), device.host_path(), device.permissions()});
  }
  for (const pb::CDIDevice& device : config.cdi_devices()) {
    out.cdi_devices.push_back(device.name());
  }
  return Ok();
}

Status ReadUser(const pb::LinuxContainerSecurityContext& context,
                runtime::ContainerSecurityContext& out) {
  if (context.has_run_as_user()) out.run_as_user = context.run_as_user().value();
  if (context.has_run_as_group()) out.run_as_group = context.run_as_group().value();
  out.run_as_username = context.run_as_username();
  if (out.run_as_user && !out.run_as_username.empty()) {
    return Bad(StrCat(kSecurityField, ".run_as_username"), "cannot go with run_as_user");
  }
  if (out.run_as_group && !out.run_as_user && out.run_as_username.empty()) {
    return Bad(StrCat(kSecurityField, ".run_as_group"), "needs run_as_user or run_as_username");
  }
  out.supplemental_groups.assign(context.supplemental_groups().begin(),
                                 context.supplemental_groups().end());
  ASSIGN_OR_RETURN(out.supplemental_groups_policy,
                   GroupsPolicyOf(context.supplemental_groups_policy(),
                                  StrCat(kSecurityField, ".supplemental_groups_policy")));
  return Ok();
}

Status ReadProfiles(const pb::LinuxContainerSecurityContext& context,
                    runtime::ContainerSecurityContext& out) {
  if (context.has_seccomp()) {
    ASSIGN_OR_RETURN(out.seccomp, ProfileOf(context.seccomp(), StrCat(kSecurityField, ".seccomp")));
  }
  if (context.has_apparmor()) {
    ASSIGN_OR_RETURN(out.apparmor,
                     ProfileOf(context.apparmor(), StrCat(kSecurityField, ".apparmor")));
  }
  out.seccomp_profile_path = context.seccomp_profile_path();
  out.apparmor_profile = context.apparmor_profile();
  return Ok();
}

Result<runtime::ContainerSecurityContext> SecurityOf(
    const pb::LinuxContainerSecurityContext& context) {
  runtime::ContainerSecurityContext out;
  if (context.has_capabilities()) {
    const pb::Capability& capabilities = context.capabilities();
    out.capabilities = {ListOf(capabilities.add_capabilities()),
                        ListOf(capabilities.drop_capabilities()),
                        ListOf(capabilities.add_ambient_capabilities())};
  }
  out.privileged = context.privileged();
  if (context.has_namespace_options()) {
    ASSIGN_OR_RETURN(out.namespaces, NamespacesOf(context.namespace_options(),
                                                  StrCat(kSecurityField, ".namespace_options")));
  }
  out.selinux = SelinuxOf(context.selinux_options());
  RETURN_IF_ERROR(ReadUser(context, out));
  out.readonly_rootfs = context.readonly_rootfs();
  out.no_new_privs = context.no_new_privs();
  out.masked_paths = ListOf(context.masked_paths());
  out.readonly_paths = ListOf(context.readonly_paths());
  RETURN_IF_ERROR(ReadProfiles(context, out));
  return out;
}

}  // namespace

Result<runtime::ContainerConfig> ContainerConfigOf(const pb::ContainerConfig& config) {
  if (!config.has_metadata()) return Bad("config.metadata", "missing");
  RETURN_IF_ERROR(RequireName(config.metadata().name(), "config.metadata.name"));
  if (config.image().image().empty()) return Bad("config.image.image", "missing");
  if (config.has_windows()) return Bad("config.windows", "this node runs Linux");
  runtime::ContainerConfig out;
  out.metadata = {config.metadata().name(), config.metadata().attempt()};
  out.image = ImageSpecOf(config.image());
  RETURN_IF_ERROR(ReadProcess(config, out));
  out.working_dir = config.working_dir();
  RETURN_IF_ERROR(ReadMountsAndDevices(config, out));
  out.labels = MapOf(config.labels());
  out.annotations = MapOf(config.annotations());
  out.log_path = config.log_path();
  out.stdin = config.stdin();
  out.stdin_once = config.stdin_once();
  out.tty = config.tty();
  ASSIGN_OR_RETURN(out.resources,
                   ResourcesOf(config.linux().resources(), "config.linux.resources"));
  ASSIGN_OR_RETURN(out.security, SecurityOf(config.linux().security_context()));
  ASSIGN_OR_RETURN(out.stop_signal, SignalNumber(config.stop_signal(), "config.stop_signal"));
  return out;
}

}  // namespace berth::cri
