#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "runtime/oci_spec_parts.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxMounts = 4096;

// Files that an LXCFS gives containers their own view of, and which carry no control: the only ones
// below /proc that may be mounted over. The others include those through which LSM labels are set
// (CVE-2015-3631, CVE-2019-16884).
constexpr std::array<std::string_view, 10> kProcFiles = {
    "/proc/cpuinfo", "/proc/diskstats",
    "/proc/loadavg", "/proc/meminfo",
    "/proc/net/dev", "/proc/slabinfo",
    "/proc/stat",    "/proc/swaps",
    "/proc/uptime",  "/proc/sys/crypto/fips_enabled"};

// What CRI's Mount.mount_options may ask for.
constexpr std::array<std::string_view, 3> kMountOptions = {"noexec", "nosuid", "nodev"};

std::vector<OciMount> DefaultMounts(bool privileged) {
  std::string access = privileged ? "rw" : "ro";
  return {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
      {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", access}},
      {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", access}},
  };
}

Status CheckDestination(std::string_view field, const std::string& destination) {
  if (destination == "/") return InvalidField(field, "\"/\" cannot be mounted over");
  if (!IsAtOrBelow(destination, "/proc")) return Ok();
  for (std::string_view file : kProcFiles) {
    if (destination == file) return Ok();
  }
  return InvalidField(field,
                      StrCat("\"", Printable(destination), "\": /proc must not be mounted over"));
}

// An image that declares a volume in /proc means to hide it (CVE-2019-16884).
Status CheckImageVolumes(const std::vector<std::string>& volumes) {
  if (volumes.size() > kMaxMounts) {
    return InvalidField("image's Volumes", StrCat("more than ", kMaxMounts));
  }
  for (const std::string& volume : volumes) {
    std::string absolute = volume.starts_with('/') ? volume : StrCat("/", volume);
    ASSIGN_OR_RETURN(std::string path, CleanContainerPath("image's Volumes", absolute));
    RETURN_IF_ERROR(CheckDestination("image's Volumes", path));
  }
  return Ok();
}

enum class PeerKind { kPrivate, kSlave, kShared };

// How the mount that the descriptor lies on hears of mounts made elsewhere: the optional fields of
// its line in mountinfo (proc(5)).
Result<PeerKind> PropagationOf(int fd) {
  struct statx info {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) != 0) return ErrnoError("statx");
  ASSIGN_OR_RETURN(std::string mounts, ReadFile("/proc/self/mountinfo"));
  std::string id = StrCat(info.stx_mnt_id);
  for (std::string_view line : Split(mounts, '\n')) {
    std::vector<std::string_view> fields = Split(line, ' ');
    if (fields[0] != id) continue;
    PeerKind kind = PeerKind::kPrivate;
    for (size_t i = 6; i < fields.size() && fields[i] != "-"; ++i) {
      if (fields[i].starts_with("shared:")) return PeerKind::kShared;
      if (fields[i].starts_with("master:")) kind = PeerKind::kSlave;
    }
    return kind;
  }
  return Error(Code::kInternal, StrCat("mount ", id, " is not in /proc/self/mountinfo"));
}

// The kernel takes "shared" and "slave" of a private mount without a word, and nothing would ever
// propagate.
Status CheckPropagation(std::string_view field, const Mount& mount, int source) {
  if (mount.propagation == MountPropagation::kPrivate) return Ok();
  ASSIGN_OR_RETURN(PeerKind kind, PropagationOf(source), field);
  bool bidirectional = mount.propagation == MountPropagation::kBidirectional;
  if (kind == PeerKind::kShared || (!bidirectional && kind == PeerKind::kSlave)) return Ok();
  return Error(
      Code::kFailedPrecondition,
      StrCat(field, ".propagation: host_path \"", Printable(mount.host_path),
             "\" lies on a mount that is not shared", bidirectional ? "" : ", nor a slave of one"));
}

Status CheckMountFields(const std::string& field, const Mount& mount, bool in_user_namespace) {
  RETURN_IF_ERROR(CheckMountMappings(field, mount));
  if (mount.propagation == MountPropagation::kBidirectional && in_user_namespace) {
    // The kernel lets no mount out of a namespace that is less privileged.
    return InvalidField(field + ".propagation", "bidirectional, in a pod with a user namespace");
  }
  if (!mount.recursive_read_only) return Ok();
  if (!mount.readonly) {
    return InvalidField(field + ".recursive_read_only", "without readonly");
  }
  if (mount.propagation != MountPropagation::kPrivate) {
    return InvalidField(field + ".recursive_read_only", "with a propagation that is not private");
  }
  return Ok();
}

std::string PropagationOption(MountPropagation propagation) {
  switch (propagation) {
    case MountPropagation::kHostToContainer:
      return "rslave";
    case MountPropagation::kBidirectional:
      return "rshared";
    case MountPropagation::kPrivate:
      break;
  }
  return "rprivate";
}

Status AddMountOptions(const std::string& field, const Mount& mount, OciMount& out) {
  for (const std::string& option : mount.mount_options) {
    if (std::find(kMountOptions.begin(), kMountOptions.end(), option) == kMountOptions.end()) {
      return InvalidField(field + ".mount_options",
                          StrCat("\"", Printable(option), "\" is not noexec, nosuid or nodev"));
    }
    out.options.push_back(option);
  }
  return Ok();
}

// The files of an image at a path: read-only, and without setuid programs and devices. It is
// nobody's peer, and its ids are the pod's already.
Status ImageMount(const std::string& field, const Mount& mount, OciMount& out) {
  if (!mount.readonly) return InvalidField(field + ".readonly", "false, with an image");
  if (!mount.host_path.empty()) return InvalidField(field + ".host_path", "with an image");
  if (mount.propagation != MountPropagation::kPrivate) {
    return InvalidField(field + ".propagation", "not private, with an image");
  }
  if (!mount.image_sub_path.empty()) {
    const std::string absolute = mount.image_sub_path.starts_with('/')
                                     ? mount.image_sub_path
                                     : StrCat("/", mount.image_sub_path);
    ASSIGN_OR_RETURN(out.source, CleanContainerPath(field + ".image_sub_path", absolute));
  }
  out.type = "image";
  out.options = {"ro", "nosuid", "nodev"};
  return AddMountOptions(field, mount, out);
}

Result<OciMount> CriMount(const std::string& field, const Mount& mount, bool in_user_namespace) {
  RETURN_IF_ERROR(CheckMountFields(field, mount, in_user_namespace));
  OciMount out;
  ASSIGN_OR_RETURN(out.destination,
                   CleanContainerPath(field + ".container_path", mount.container_path));
  RETURN_IF_ERROR(CheckDestination(field + ".container_path", out.destination));
  if (mount.image) {
    RETURN_IF_ERROR(ImageMount(field, mount, out));
    return out;
  }
  if (!mount.image_sub_path.empty()) {
    return InvalidField(field + ".image_sub_path", "without an image");
  }
  ASSIGN_OR_RETURN(out.source, CleanContainerPath(field + ".host_path", mount.host_path));
  ASSIGN_OR_RETURN(UniqueFd source, Open(out.source, O_PATH), field, ".host_path");
  RETURN_IF_ERROR(CheckPropagation(field, mount, source.get()));

  out.type = "bind";
  out.options = {"rbind", PropagationOption(mount.propagation)};
  out.options.emplace_back(mount.recursive_read_only ? "rro" : mount.readonly ? "ro" : "rw");
  RETURN_IF_ERROR(AddMountOptions(field, mount, out));
  out.uid_mappings = mount.uid_mappings;
  out.gid_mappings = mount.gid_mappings;
  return out;
}

// The pod's own files, and its shared memory.
std::vector<OciMount> PodMounts(const SpecInputs& inputs) {
  const PodPaths& paths = inputs.paths;
  const std::string access = inputs.container.security.readonly_rootfs ? "ro" : "rw";
  std::vector<OciMount> mounts;
  auto add = [&](const char* destination, const std::string& source, const std::string& mode) {
    if (source.empty()) return;
    mounts.push_back({destination, "bind", source, {"rbind", "rprivate", mode}});
  };
  add("/etc/hostname", paths.hostname, access);
  add("/etc/hosts", paths.hosts, access);
  add("/etc/resolv.conf", paths.resolv_conf, access);
  add("/dev/shm", paths.shm, "rw");
  return mounts;
}

bool Hides(const OciMount& upper, const OciMount& lower) {
  // A directory of the user's in place of /dev stands as it is, without what would be mounted in
  // it.
  return upper.destination == lower.destination ||
         (upper.destination == "/dev" && IsAtOrBelow(lower.destination, "/dev"));
}

// Without those of `lower` that a mount of `upper` hides.
std::vector<OciMount> NotHidden(std::vector<OciMount> lower, const std::vector<OciMount>& upper) {
  std::erase_if(lower, [&](const OciMount& mount) {
    return std::any_of(upper.begin(), upper.end(),
                       [&](const OciMount& other) { return Hides(other, mount); });
  });
  return lower;
}

std::string RootPropagation(const std::vector<Mount>& mounts) {
  MountPropagation widest = MountPropagation::kPrivate;
  for (const Mount& mount : mounts) widest = std::max(widest, mount.propagation);
  return PropagationOption(widest);
}

}  // namespace

Status BuildMounts(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerConfig& container = inputs.container;
  RETURN_IF_ERROR(CheckImageVolumes(inputs.image.volumes));
  if (container.mounts.size() > kMaxMounts) {
    return InvalidField("mounts", StrCat("more than ", kMaxMounts));
  }
  const bool in_user_namespace = HasUserNamespace(inputs.pod.security.namespaces);
  std::vector<OciMount> wanted;
  for (size_t i = 0; i < container.mounts.size(); ++i) {
    ASSIGN_OR_RETURN(OciMount mount,
                     CriMount(StrCat("mounts[", i, "]"), container.mounts[i], in_user_namespace));
    mount.index = i;
    wanted.push_back(std::move(mount));
  }
  std::vector<OciMount> extra = NotHidden(PodMounts(inputs), wanted);
  extra.insert(extra.end(), wanted.begin(), wanted.end());
  // What lies deeper is mounted later, else it would be covered; of equals the request's order
  // holds.
  auto depth = [](const OciMount& mount) {
    return std::count(mount.destination.begin(), mount.destination.end(), '/');
  };
  std::stable_sort(extra.begin(), extra.end(),
                   [&](const OciMount& a, const OciMount& b) { return depth(a) < depth(b); });

  spec.mounts = NotHidden(DefaultMounts(container.security.privileged), extra);
  spec.mounts.insert(spec.mounts.end(), extra.begin(), extra.end());
  spec.root_readonly = container.security.readonly_rootfs;
  spec.rootfs_propagation = RootPropagation(container.mounts);
  return Ok();
}

}  // namespace berth::runtime
