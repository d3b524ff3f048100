#include "cri/translate_common.h"

#include <algorithm>

namespace berth::cri {

namespace {

Result<runtime::NamespaceMode> ModeOf(pb::NamespaceMode mode, std::string_view field,
                                      std::initializer_list<pb::NamespaceMode> allowed) {
  if (std::find(allowed.begin(), allowed.end(), mode) == allowed.end()) {
    std::string name = pb::NamespaceMode_Name(mode);
    return Bad(field, StrCat(name.empty() ? StrCat(static_cast<int>(mode)) : name,
                             " is not possible here"));
  }
  return static_cast<runtime::NamespaceMode>(mode);
}

}  // namespace

Error Bad(std::string_view field, std::string_view what) {
  return {Code::kInvalidArgument, StrCat(field, ": ", what)};
}

Status RequireName(const std::string& name, std::string_view field) {
  // Kubernetes allows 253 bytes; file names and CNI's arguments are made from these.
  constexpr size_t kMaxNameBytes = 253;
  if (name.empty()) return Bad(field, "missing");
  if (name.size() > kMaxNameBytes) {
    return Bad(field, StrCat(name.size(), " bytes, at most ", kMaxNameBytes, " are possible"));
  }
  for (char c : name) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.' || c == ':';
    if (!plain) {
      return Bad(field, StrCat("\"", Printable(name),
                               "\" has a character other than letters, "
                               "digits and - _ . :"));
    }
  }
  return Ok();
}

std::vector<std::string> ListOf(const google::protobuf::RepeatedPtrField<std::string>& list) {
  return {list.begin(), list.end()};
}

std::vector<runtime::IdMapping> MappingsOf(
    const google::protobuf::RepeatedPtrField<pb::IDMapping>& mappings) {
  std::vector<runtime::IdMapping> out;
  for (const pb::IDMapping& mapping : mappings) {
    out.push_back({mapping.host_id(), mapping.container_id(), mapping.length()});
  }
  return out;
}

runtime::StringMap MapOf(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

Result<runtime::LinuxResources> ResourcesOf(const pb::LinuxContainerResources& resources,
                                            std::string_view field) {
  runtime::LinuxResources out;
  out.cpu_period_us = resources.cpu_period();
  out.cpu_quota_us = resources.cpu_quota();
  out.cpu_shares = resources.cpu_shares();
  out.memory_limit_bytes = resources.memory_limit_in_bytes();
  out.oom_score_adj = resources.oom_score_adj();
  out.cpuset_cpus = resources.cpuset_cpus();
  out.cpuset_mems = resources.cpuset_mems();
  for (const pb::HugepageLimit& limit : resources.hugepage_limits()) {
    if (limit.page_size().empty())
      return Bad(StrCat(field, ".hugepage_limits.page_size"), "missing");
    out.hugepage_limits.emplace_back(limit.page_size(), limit.limit());
  }
  out.unified = MapOf(resources.unified());
  out.memory_swap_limit_bytes = resources.memory_swap_limit_in_bytes();
  if (out.oom_score_adj < -1000 || out.oom_score_adj > 1000) {
    return Bad(StrCat(field, ".oom_score_adj"),
               StrCat(out.oom_score_adj, " is not in the range -1000 to 1000"));
  }
  return out;
}

Result<runtime::NamespaceOptions> NamespacesOf(const pb::NamespaceOption& options,
                                               std::string_view field) {
  runtime::NamespaceOptions out;
  ASSIGN_OR_RETURN(out.network,
                   ModeOf(options.network(), StrCat(field, ".network"), {pb::POD, pb::NODE}));
  ASSIGN_OR_RETURN(out.pid, ModeOf(options.pid(), StrCat(field, ".pid"),
                                   {pb::POD, pb::CONTAINER, pb::NODE, pb::TARGET}));
  ASSIGN_OR_RETURN(out.ipc, ModeOf(options.ipc(), StrCat(field, ".ipc"), {pb::POD, pb::NODE}));
  out.target_id = options.target_id();
  if (out.pid == runtime::NamespaceMode::kTarget && out.target_id.empty()) {
    return Bad(StrCat(field, ".target_id"), "missing, with pid mode TARGET");
  }
  if (!options.has_userns_options()) return out;
  const pb::UserNamespace& userns = options.userns_options();
  std::string userns_field = StrCat(field, ".userns_options");
  ASSIGN_OR_RETURN(auto mode,
                   ModeOf(userns.mode(), StrCat(userns_field, ".mode"), {pb::POD, pb::NODE}));
  out.userns = {mode, MappingsOf(userns.uids()), MappingsOf(userns.gids())};
  return out;
}

Result<runtime::SecurityProfile> ProfileOf(const pb::SecurityProfile& profile,
                                           std::string_view field) {
  if (!pb::SecurityProfile::ProfileType_IsValid(profile.profile_type())) {
    return Bad(StrCat(field, ".profile_type"), "not a type that CRI knows");
  }
  if (profile.profile_type() == pb::SecurityProfile::Localhost && profile.localhost_ref().empty()) {
    return Bad(StrCat(field, ".localhost_ref"), "missing, with type Localhost");
  }
  return runtime::SecurityProfile{static_cast<runtime::ProfileType>(profile.profile_type()),
                                  profile.localhost_ref()};
}

Result<runtime::SupplementalGroupsPolicy> GroupsPolicyOf(pb::SupplementalGroupsPolicy policy,
                                                         std::string_view field) {
  if (!pb::SupplementalGroupsPolicy_IsValid(policy)) {
    return Bad(field, "not a policy that CRI knows");
  }
  return static_cast<runtime::SupplementalGroupsPolicy>(policy);
}

std::optional<runtime::SelinuxOptions> SelinuxOf(const pb::SELinuxOption& options) {
  if (options.user().empty() && options.role().empty() && options.type().empty() &&
      options.level().empty()) {
    return std::nullopt;
  }
  return runtime::SelinuxOptions{options.user(), options.role(), options.type(), options.level()};
}

Result<runtime::PodFilter> PodFilterOf(const pb::PodSandboxFilter& filter) {
  runtime::PodFilter out;
  out.id = filter.id();
  out.labels = MapOf(filter.label_selector());
  if (!filter.has_state()) return out;
  if (!pb::PodSandboxState_IsValid(filter.state().state())) {
    return Bad("filter.state", "not a state that CRI knows");
  }
  out.state = static_cast<runtime::PodState>(filter.state().state());
  return out;
}

Result<runtime::ContainerFilter> ContainerFilterOf(const pb::ContainerFilter& filter) {
  runtime::ContainerFilter out;
  out.id = filter.id();
  out.pod_id = filter.pod_sandbox_id();
  out.labels = MapOf(filter.label_selector());
  if (!filter.has_state()) return out;
  if (!pb::ContainerState_IsValid(filter.state().state())) {
    return Bad("filter.state", "not a state that CRI knows");
  }
  out.state = static_cast<runtime::ContainerState>(filter.state().state());
  return out;
}

runtime::ContainerFilter ContainerFilterOf(const pb::ContainerStatsFilter& filter) {
  runtime::ContainerFilter out;
  out.id = filter.id();
  out.pod_id = filter.pod_sandbox_id();
  out.labels = MapOf(filter.label_selector());
  return out;
}

runtime::PodFilter PodFilterOf(const pb::PodSandboxStatsFilter& filter) {
  runtime::PodFilter out;
  out.id = filter.id();
  out.labels = MapOf(filter.label_selector());
  return out;
}

Result<std::string> ReferenceOf(const std::string& image, std::string_view field) {
  // Far more than a domain, a repository, a tag and a digest can be together.
  constexpr size_t kMaxReferenceBytes = 1024;
  if (image.empty()) return Bad(field, "missing");
  if (image.size() > kMaxReferenceBytes) {
    return Bad(field, StrCat(image.size(), " bytes are too long for a reference"));
  }
  return image;
}

image::RegistryAuth AuthOf(const pb::AuthConfig& auth) {
  image::RegistryAuth out;
  out.username = auth.username();
  out.password = auth.password();
  out.auth = auth.auth();
  out.server_address = auth.server_address();
  out.identity_token = auth.identity_token();
  out.registry_token = auth.registry_token();
  return out;
}

Status RequireId(const std::string& id, std::string_view field) {
  constexpr size_t kMaxIdBytes = 128;
  if (id.empty()) return Bad(field, "missing");
  if (id.size() > kMaxIdBytes)
    return Bad(field, StrCat(id.size(), " bytes are too long for an id"));
  return Ok();
}

Result<int64_t> SecondsOf(int64_t seconds, std::string_view field) {
  constexpr int64_t kYear = 365LL * 24 * 3600;
  if (seconds < 0) return Bad(field, StrCat(seconds, " is negative"));
  return std::min(seconds, kYear);
}

Status CheckArgumentSize(size_t bytes, std::string_view field) {
  if (bytes <= kMaxOneArgumentBytes) return Ok();
  return Bad(field, StrCat(bytes, " bytes, but Linux takes at most ", kMaxOneArgumentBytes));
}

}  // namespace berth::cri
