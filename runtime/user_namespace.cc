#include "runtime/user_namespace.h"

#include <algorithm>

#include "runtime/invalid_field.h"

namespace berth::runtime {

namespace {

constexpr uint64_t kMaxId = UINT32_MAX;  // itself no id: user_namespaces(7)
constexpr size_t kMaxMappings = 340;     // the kernel's UID_GID_MAP_MAX_EXTENTS
constexpr char kField[] = "namespace_options.userns_options";

Status CheckRange(const std::string& field, const IdMapping& mapping) {
  if (mapping.length == 0) return InvalidField(field + ".length", "is 0");
  if (uint64_t{mapping.host_id} + mapping.length > kMaxId ||
      uint64_t{mapping.container_id} + mapping.length > kMaxId) {
    return InvalidField(field, StrCat("its ", mapping.length, " ids do not end below 2^32 - 1"));
  }
  return Ok();
}

Status CheckOnly(const std::string& field, const std::vector<IdMapping>& mappings) {
  if (mappings.size() != 1) {
    return InvalidField(field, StrCat(mappings.size(), " mappings; a pod has exactly one"));
  }
  if (mappings[0].container_id != 0) {
    return InvalidField(field + "[0].container_id", "the mapping does not begin with id 0");
  }
  return CheckRange(field + "[0]", mappings[0]);
}

bool Overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length) {
  return a < b + b_length && b < a + a_length;
}

Status CheckMany(const std::string& field, const std::vector<IdMapping>& mappings) {
  if (mappings.size() > kMaxMappings)
    return InvalidField(field, StrCat("more than ", kMaxMappings));
  for (size_t i = 0; i < mappings.size(); ++i) {
    const IdMapping& one = mappings[i];
    const std::string name = StrCat(field, "[", i, "]");
    RETURN_IF_ERROR(CheckRange(name, one));
    for (size_t j = 0; j < i; ++j) {
      const IdMapping& other = mappings[j];
      if (Overlap(one.host_id, one.length, other.host_id, other.length) ||
          Overlap(one.container_id, one.length, other.container_id, other.length)) {
        return InvalidField(name, StrCat("has ids of [", j, "]"));
      }
    }
  }
  return Ok();
}

bool Same(const std::vector<IdMapping>& a, const std::vector<IdMapping>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const IdMapping& x, const IdMapping& y) {
        return x.host_id == y.host_id && x.container_id == y.container_id && x.length == y.length;
      });
}

}  // namespace

bool HasUserNamespace(const NamespaceOptions& options) {
  return options.userns && options.userns->mode == NamespaceMode::kPod;
}

Status CheckUserNamespace(const NamespaceOptions& options) {
  if (!options.userns) return Ok();
  const UserNamespace& userns = *options.userns;
  if (userns.mode == NamespaceMode::kNode) {
    if (userns.uids.empty() && userns.gids.empty()) return Ok();
    return InvalidField(kField, "has mappings for the host's user namespace");
  }
  if (userns.mode != NamespaceMode::kPod) {
    return InvalidField(StrCat(kField, ".mode"), "is neither POD nor NODE");
  }
  RETURN_IF_ERROR(CheckOnly(StrCat(kField, ".uids"), userns.uids));
  return CheckOnly(StrCat(kField, ".gids"), userns.gids);
}

Status CheckMountMappings(const std::string& field, const Mount& mount) {
  if (mount.uid_mappings.empty() != mount.gid_mappings.empty()) {
    return InvalidField(StrCat(field, mount.uid_mappings.empty() ? ".uidMappings" : ".gidMappings"),
                        "missing: users and groups are mapped both or neither");
  }
  RETURN_IF_ERROR(CheckMany(field + ".uidMappings", mount.uid_mappings));
  return CheckMany(field + ".gidMappings", mount.gid_mappings);
}

Status CheckSameUserNamespace(const NamespaceOptions& pod, const NamespaceOptions& container) {
  if (!container.userns) return Ok();
  const bool same = HasUserNamespace(pod) == HasUserNamespace(container) &&
                    (!HasUserNamespace(pod) || (Same(pod.userns->uids, container.userns->uids) &&
                                                Same(pod.userns->gids, container.userns->gids)));
  return same ? Ok() : Status(InvalidField(kField, "differs from that of the container's pod"));
}

Status CheckIdsAreMapped(const NamespaceOptions& pod, const ContainerUser& user) {
  if (!HasUserNamespace(pod)) return Ok();
  auto check = [](std::string_view what, int64_t id, const IdMapping& mapping) -> Status {
    if (id < mapping.length) return Ok();
    return InvalidField(what, StrCat(id, " is not in the pod's user namespace, which has ids 0 to ",
                                     mapping.length - 1));
  };
  RETURN_IF_ERROR(check("user", user.uid, pod.userns->uids[0]));
  RETURN_IF_ERROR(check("group", user.gid, pod.userns->gids[0]));
  for (int64_t group : user.supplemental_groups) {
    RETURN_IF_ERROR(check("supplemental group", group, pod.userns->gids[0]));
  }
  return Ok();
}

std::vector<shim::wire::IdRange> IdRanges(const std::vector<IdMapping>& mappings) {
  std::vector<shim::wire::IdRange> ranges;
  ranges.reserve(mappings.size());
  for (const IdMapping& mapping : mappings) {
    ranges.push_back({mapping.container_id, mapping.host_id, mapping.length});
  }
  return ranges;
}

}  // namespace berth::runtime
