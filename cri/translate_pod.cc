#include "cri/translate_common.h"

namespace berth::cri {

namespace {

Result<runtime::PodMetadata> MetadataOf(const pb::PodSandboxMetadata& metadata) {
  RETURN_IF_ERROR(RequireName(metadata.name(), "config.metadata.name"));
  RETURN_IF_ERROR(RequireName(metadata.namespace_(), "config.metadata.namespace"));
  RETURN_IF_ERROR(RequireName(metadata.uid(), "config.metadata.uid"));
  return runtime::PodMetadata{metadata.name(), metadata.uid(), metadata.namespace_(),
                              metadata.attempt()};
}

Result<std::vector<runtime::PortMapping>> PortMappingsOf(const pb::PodSandboxConfig& config) {
  std::vector<runtime::PortMapping> out;
  auto is_port = [](int32_t port) { return port >= 0 && port <= 65535; };
  for (const pb::PortMapping& mapping : config.port_mappings()) {
    std::string field = StrCat("config.port_mappings[", out.size(), "]");
    if (!pb::Protocol_IsValid(mapping.protocol())) {
      return Bad(StrCat(field, ".protocol"), "not a protocol that CRI knows");
    }
    if (!is_port(mapping.host_port())) {
      return Bad(StrCat(field, ".host_port"), StrCat(mapping.host_port(), " is not a port"));
    }
    if (!is_port(mapping.container_port()) ||
        (mapping.container_port() == 0 && mapping.host_port() != 0)) {
      return Bad(StrCat(field, ".container_port"),
                 StrCat(mapping.container_port(), " is not a port"));
    }
    out.push_back({static_cast<runtime::Protocol>(mapping.protocol()), mapping.container_port(),
                   mapping.host_port(), mapping.host_ip()});
  }
  return out;
}

Result<runtime::PodSecurityContext> SecurityOf(const pb::LinuxSandboxSecurityContext& context) {
  constexpr std::string_view kField = "config.linux.security_context";
  runtime::PodSecurityContext out;
  if (context.has_namespace_options()) {
    ASSIGN_OR_RETURN(out.namespaces, NamespacesOf(context.namespace_options(),
                                                  StrCat(kField, ".namespace_options")));
    if (out.namespaces.pid == runtime::NamespaceMode::kTarget) {
      return Bad(StrCat(kField, ".namespace_options.pid"), "TARGET is for containers only");
    }
  }
  out.selinux = SelinuxOf(context.selinux_options());
  if (context.has_run_as_user()) out.run_as_user = context.run_as_user().value();
  if (context.has_run_as_group()) out.run_as_group = context.run_as_group().value();
  if (out.run_as_group && !out.run_as_user) {
    return Bad(StrCat(kField, ".run_as_group"), "needs run_as_user");
  }
  out.readonly_rootfs = context.readonly_rootfs();
  out.supplemental_groups.assign(context.supplemental_groups().begin(),
                                 context.supplemental_groups().end());
  ASSIGN_OR_RETURN(out.supplemental_groups_policy,
                   GroupsPolicyOf(context.supplemental_groups_policy(),
                                  StrCat(kField, ".supplemental_groups_policy")));
  out.privileged = context.privileged();
  if (context.has_seccomp()) {
    ASSIGN_OR_RETURN(out.seccomp, ProfileOf(context.seccomp(), StrCat(kField, ".seccomp")));
  }
  if (context.has_apparmor()) {
    ASSIGN_OR_RETURN(out.apparmor, ProfileOf(context.apparmor(), StrCat(kField, ".apparmor")));
  }
  return out;
}

Status ReadLinux(const pb::LinuxPodSandboxConfig& config, runtime::PodConfig& out) {
  out.cgroup_parent = config.cgroup_parent();
  ASSIGN_OR_RETURN(out.security, SecurityOf(config.security_context()));
  out.sysctls = MapOf(config.sysctls());
  if (config.has_overhead()) {
    ASSIGN_OR_RETURN(out.overhead, ResourcesOf(config.overhead(), "config.linux.overhead"));
  }
  if (config.has_resources()) {
    ASSIGN_OR_RETURN(out.resources, ResourcesOf(config.resources(), "config.linux.resources"));
  }
  return Ok();
}

}  // namespace

Result<runtime::PodConfig> PodConfigOf(const pb::PodSandboxConfig& config) {
  if (!config.has_metadata()) return Bad("config.metadata", "missing");
  if (config.has_windows()) return Bad("config.windows", "this node runs Linux");
  runtime::PodConfig out;
  ASSIGN_OR_RETURN(out.metadata, MetadataOf(config.metadata()));
  out.hostname = config.hostname();
  out.log_directory = config.log_directory();
  if (config.has_dns_config()) {
    const pb::DNSConfig& dns = config.dns_config();
    out.dns = {ListOf(dns.servers()), ListOf(dns.searches()), ListOf(dns.options())};
  }
  ASSIGN_OR_RETURN(out.port_mappings, PortMappingsOf(config));
  out.labels = MapOf(config.labels());
  out.annotations = MapOf(config.annotations());
  RETURN_IF_ERROR(ReadLinux(config.linux(), out));
  return out;
}

}  // namespace berth::cri
