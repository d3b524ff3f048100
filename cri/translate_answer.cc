#include "cri/translate_answer.h"

#include <algorithm>

#include "base/utf8.h"
#include "cri/signals.h"
#include "cri/status.h"
#include "cri/translate_answer_common.h"

namespace berth::cri {

void SetMap(const runtime::StringMap& from, google::protobuf::Map<std::string, std::string>* to) {
  to->insert(from.begin(), from.end());
}

void SetMetadata(const runtime::PodMetadata& from, pb::PodSandboxMetadata* to) {
  to->set_name(from.name);
  to->set_uid(from.uid);
  to->set_namespace_(from.namespace_);
  to->set_attempt(from.attempt);
}

void SetMetadata(const runtime::ContainerMetadata& from, pb::ContainerMetadata* to) {
  to->set_name(from.name);
  to->set_attempt(from.attempt);
}

namespace {

void SetImageSpec(const runtime::ImageSpec& from, pb::ImageSpec* to) {
  to->set_image(from.image);
  SetMap(from.annotations, to->mutable_annotations());
  to->set_user_specified_image(from.user_specified_image);
  to->set_runtime_handler(from.runtime_handler);
  to->set_image_ref(from.image_ref);
}

void SetMappings(const std::vector<runtime::IdMapping>& from,
                 google::protobuf::RepeatedPtrField<pb::IDMapping>* to) {
  for (const runtime::IdMapping& mapping : from) {
    pb::IDMapping* one = to->Add();
    one->set_host_id(mapping.host_id);
    one->set_container_id(mapping.container_id);
    one->set_length(mapping.length);
  }
}

void SetNamespaces(const runtime::NamespaceOptions& from, pb::NamespaceOption* to) {
  to->set_network(static_cast<pb::NamespaceMode>(from.network));
  to->set_pid(static_cast<pb::NamespaceMode>(from.pid));
  to->set_ipc(static_cast<pb::NamespaceMode>(from.ipc));
  to->set_target_id(from.target_id);
  if (!from.userns) return;
  pb::UserNamespace* userns = to->mutable_userns_options();
  userns->set_mode(static_cast<pb::NamespaceMode>(from.userns->mode));
  SetMappings(from.userns->uids, userns->mutable_uids());
  SetMappings(from.userns->gids, userns->mutable_gids());
}

void SetMount(const runtime::Mount& from, pb::Mount* to) {
  to->set_container_path(from.container_path);
  to->set_host_path(from.host_path);
  to->set_readonly(from.readonly);
  to->set_selinux_relabel(from.selinux_relabel);
  to->set_propagation(static_cast<pb::MountPropagation>(from.propagation));
  SetMappings(from.uid_mappings, to->mutable_uidmappings());
  SetMappings(from.gid_mappings, to->mutable_gidmappings());
  to->set_recursive_read_only(from.recursive_read_only);
  if (from.image) SetImageSpec(*from.image, to->mutable_image());
  to->set_image_sub_path(from.image_sub_path);
  for (const std::string& option : from.mount_options) to->add_mount_options(option);
}

// Whether the image's USER begins with a number, which is then the uid.
void SetUser(const std::string& user, pb::Image* out) {
  std::string name = user.substr(0, user.find(':'));
  if (name.empty()) return;
  if (auto uid = ParseNumber<int64_t>(name); uid && *uid >= 0) {
    out->mutable_uid()->set_value(*uid);
  } else {
    out->set_username(ToUtf8(name));
  }
}

}  // namespace

void ToPb(const runtime::Pod& pod, pb::PodSandbox* out) {
  out->set_id(pod.id);
  SetMetadata(pod.config.metadata, out->mutable_metadata());
  out->set_state(static_cast<pb::PodSandboxState>(pod.state));
  out->set_created_at(pod.created_at_ns);
  SetMap(pod.config.labels, out->mutable_labels());
  SetMap(pod.config.annotations, out->mutable_annotations());
  out->set_runtime_handler(pod.runtime_handler);
}

void ToPb(const runtime::Pod& pod, pb::PodSandboxStatus* out) {
  out->set_id(pod.id);
  SetMetadata(pod.config.metadata, out->mutable_metadata());
  out->set_state(static_cast<pb::PodSandboxState>(pod.state));
  out->set_created_at(pod.created_at_ns);
  pb::PodSandboxNetworkStatus* network = out->mutable_network();
  for (const std::string& ip : pod.ips) {
    if (network->ip().empty()) {
      network->set_ip(ip);
    } else {
      network->add_additional_ips()->set_ip(ip);
    }
  }
  SetNamespaces(pod.config.security.namespaces,
                out->mutable_linux()->mutable_namespaces()->mutable_options());
  SetMap(pod.config.labels, out->mutable_labels());
  SetMap(pod.config.annotations, out->mutable_annotations());
  out->set_runtime_handler(pod.runtime_handler);
}

void ToPb(const runtime::Container& container, pb::Container* out) {
  out->set_id(container.id);
  out->set_pod_sandbox_id(container.pod_id);
  SetMetadata(container.config.metadata, out->mutable_metadata());
  SetImageSpec(container.config.image, out->mutable_image());
  out->set_image_ref(container.image_ref);
  out->set_state(static_cast<pb::ContainerState>(container.state));
  out->set_created_at(container.created_at_ns);
  SetMap(container.config.labels, out->mutable_labels());
  SetMap(container.config.annotations, out->mutable_annotations());
  out->set_image_id(container.image_id);
}

void ToPb(const runtime::Container& container, pb::ContainerStatus* out) {
  out->set_id(container.id);
  SetMetadata(container.config.metadata, out->mutable_metadata());
  out->set_state(static_cast<pb::ContainerState>(container.state));
  out->set_created_at(container.created_at_ns);
  out->set_started_at(container.started_at_ns);
  out->set_finished_at(container.finished_at_ns);
  out->set_exit_code(container.exit_code);
  SetImageSpec(container.config.image, out->mutable_image());
  out->set_image_ref(container.image_ref);
  out->set_reason(ToUtf8(container.reason));
  out->set_message(ToUtf8(container.message));
  SetMap(container.config.labels, out->mutable_labels());
  SetMap(container.config.annotations, out->mutable_annotations());
  for (const runtime::Mount& mount : container.config.mounts) SetMount(mount, out->add_mounts());
  out->set_log_path(container.log_path);
  ToPb(container.resources, out->mutable_resources()->mutable_linux());
  out->set_image_id(container.image_id);
  pb::LinuxContainerUser* user = out->mutable_user()->mutable_linux();
  user->set_uid(container.user.uid);
  user->set_gid(container.user.gid);
  for (int64_t group : container.user.supplemental_groups) user->add_supplemental_groups(group);
  out->set_stop_signal(SignalOfNumber(container.stop_signal));
}

void ToPb(const runtime::LinuxResources& resources, pb::LinuxContainerResources* out) {
  out->set_cpu_period(resources.cpu_period_us);
  out->set_cpu_quota(resources.cpu_quota_us);
  out->set_cpu_shares(resources.cpu_shares);
  out->set_memory_limit_in_bytes(resources.memory_limit_bytes);
  out->set_oom_score_adj(resources.oom_score_adj);
  out->set_cpuset_cpus(resources.cpuset_cpus);
  out->set_cpuset_mems(resources.cpuset_mems);
  for (const auto& [page_size, limit] : resources.hugepage_limits) {
    pb::HugepageLimit* one = out->add_hugepage_limits();
    one->set_page_size(page_size);
    one->set_limit(limit);
  }
  SetMap(resources.unified, out->mutable_unified());
  out->set_memory_swap_limit_in_bytes(resources.memory_swap_limit_bytes);
}

void ToPb(const image::Image& image, pb::Image* out) {
  out->set_id(image.id);
  for (const std::string& tag : image.repo_tags) out->add_repo_tags(tag);
  for (const std::string& digest : image.repo_digests) out->add_repo_digests(digest);
  out->set_size(image.size_bytes);
  SetUser(image.config.user, out);
  out->mutable_spec()->set_image(image.id);
  SetMap(image.annotations, out->mutable_spec()->mutable_annotations());
  out->set_pinned(image.pinned);
}

void ToPb(const snapshotter::Usage& usage, const std::string& mountpoint, int64_t timestamp_ns,
          pb::FilesystemUsage* out) {
  out->set_timestamp(timestamp_ns);
  out->mutable_fs_id()->set_mountpoint(mountpoint);
  out->mutable_used_bytes()->set_value(usage.bytes);
  out->mutable_inodes_used()->set_value(usage.inodes);
}

std::string ImageNameOf(const runtime::Container& container, const image::Image* image) {
  const std::string& asked = container.config.image.image;
  if (image == nullptr || image->repo_tags.empty()) return asked;
  const auto& tags = image->repo_tags;
  return std::find(tags.begin(), tags.end(), asked) != tags.end() ? asked : tags.front();
}

}  // namespace berth::cri
