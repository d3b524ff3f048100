#include "runtime/pod_files.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>

#include "base/file.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxHostFileBytes = 1 << 20;
constexpr size_t kMaxDnsEntries = 256;

bool IsHostNetwork(const PodConfig& config) {
  return config.security.namespaces.network == NamespaceMode::kNode;
}

Status CheckDnsEntries(const char* field, const std::vector<std::string>& entries) {
  if (entries.size() > kMaxDnsEntries) {
    return Error(Code::kInvalidArgument,
                 StrCat("dns_config.", field, ": more than ", kMaxDnsEntries));
  }
  for (const std::string& entry : entries) {
    for (char c : entry) {
      // A line break would begin an entry of another kind.
      if (c > ' ' && c < 127) continue;
      return Error(Code::kInvalidArgument, StrCat("dns_config.", field, ": \"", Printable(entry),
                                                  "\" has a blank or control byte"));
    }
  }
  return Ok();
}

Result<std::string> ResolvConf(const PodConfig& config) {
  // As kubelet and crictl leave it where the host's is meant: not there, or there without a word.
  if (!config.dns || (config.dns->servers.empty() && config.dns->searches.empty() &&
                      config.dns->options.empty())) {
    auto host = ReadFile("/etc/resolv.conf", kMaxHostFileBytes);
    if (host.code() == Code::kNotFound) return std::string();
    return host;
  }
  std::string text;
  if (!config.dns->searches.empty())
    text += StrCat("search ", Join(config.dns->searches, " "), "\n");
  for (const std::string& server : config.dns->servers) text += StrCat("nameserver ", server, "\n");
  if (!config.dns->options.empty())
    text += StrCat("options ", Join(config.dns->options, " "), "\n");
  return text;
}

Result<std::string> Hosts(const PodConfig& config, const std::vector<std::string>& ips) {
  if (IsHostNetwork(config)) {
    auto host = ReadFile("/etc/hosts", kMaxHostFileBytes);
    if (host.code() == Code::kNotFound) return std::string();
    return host;
  }
  std::string text =
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
  for (const std::string& ip : ips) text += StrCat(ip, "\t", PodHostname(config), "\n");
  return text;
}

// Whom the files are given to: who is root in the containers.
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

Owner OwnerOf(const PodConfig& config) {
  const NamespaceOptions& namespaces = config.security.namespaces;
  if (!HasUserNamespace(namespaces)) return {};
  return {namespaces.userns->uids[0].host_id, namespaces.userns->gids[0].host_id};
}

Status WritePodFile(int dir, const char* name, const std::string& text, const Owner& owner) {
  RETURN_IF_ERROR(AtomicWriteFileAt(dir, name, text, 0644));
  if (owner.uid == 0 && owner.gid == 0) return Ok();
  if (fchownat(dir, name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(StrCat("chown ", std::string(name)));
  }
  return Ok();
}

Status MountShm(const std::string& path, const Owner& owner) {
  RETURN_IF_ERROR(MakeDirs(path, 0700));
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const std::string options = StrCat("mode=1777,size=65536k,uid=", owner.uid, ",gid=", owner.gid);
  if (mount("shm", path.c_str(), "tmpfs", kFlags, options.c_str()) != 0) {
    return ErrnoError(StrCat("mount ", path));
  }
  return Ok();
}

}  // namespace

std::string PodHostname(const PodConfig& config) {
  if (!config.hostname.empty()) return config.hostname;
  if (IsHostNetwork(config)) {
    char name[HOST_NAME_MAX + 1] = {};
    if (gethostname(name, sizeof name - 1) == 0) return name;
  }
  return config.metadata.name.substr(0, HOST_NAME_MAX - 1);
}

PodPaths PathsOfPod(const std::string& pod_dir, const PodConfig& config) {
  const NamespaceOptions& namespaces = config.security.namespaces;
  const bool host_network = IsHostNetwork(config);
  const bool host_ipc = namespaces.ipc == NamespaceMode::kNode;
  PodPaths paths;
  paths.resolv_conf = pod_dir + "/resolv.conf";
  paths.hostname = pod_dir + "/hostname";
  paths.hosts = pod_dir + "/hosts";
  paths.shm = host_ipc ? "/dev/shm" : pod_dir + "/shm";
  if (!host_network) {
    paths.net_ns = pod_dir + "/ns/net";
    paths.uts_ns = pod_dir + "/ns/uts";
  }
  if (!host_ipc) paths.ipc_ns = pod_dir + "/ns/ipc";
  if (namespaces.pid == NamespaceMode::kPod) paths.pid_ns = pod_dir + "/ns/pid";
  if (HasUserNamespace(namespaces)) paths.user_ns = pod_dir + "/ns/user";
  return paths;
}

std::vector<std::string> OwnFiles(const std::string& pod_dir, const PodPaths& paths) {
  std::vector<std::string> own;
  for (const std::string* path : {&paths.resolv_conf, &paths.hostname, &paths.hosts, &paths.shm}) {
    if (path->starts_with(pod_dir + "/")) own.push_back(*path);
  }
  return own;
}

Status CheckPodFiles(const PodConfig& config) {
  if (config.hostname.size() > HOST_NAME_MAX) {
    return Error(Code::kInvalidArgument, StrCat("hostname: longer than ", HOST_NAME_MAX, " bytes"));
  }
  for (char c : config.hostname) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '.' || c == '_';
    if (!fits) {
      return Error(Code::kInvalidArgument,
                   StrCat("hostname: \"", Printable(config.hostname), "\" is not a host name"));
    }
  }
  if (!config.dns) return Ok();
  RETURN_IF_ERROR(CheckDnsEntries("servers", config.dns->servers));
  RETURN_IF_ERROR(CheckDnsEntries("searches", config.dns->searches));
  return CheckDnsEntries("options", config.dns->options);
}

Status CreatePodFiles(const std::string& pod_dir, const PodConfig& config,
                      const std::vector<std::string>& ips) {
  ASSIGN_OR_RETURN(auto dir, Open(pod_dir, O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(std::string resolv_conf, ResolvConf(config), "resolv.conf");
  ASSIGN_OR_RETURN(std::string hosts, Hosts(config, ips), "hosts");
  const Owner owner = OwnerOf(config);
  RETURN_IF_ERROR(WritePodFile(dir.get(), "resolv.conf", resolv_conf, owner));
  RETURN_IF_ERROR(WritePodFile(dir.get(), "hosts", hosts, owner));
  RETURN_IF_ERROR(WritePodFile(dir.get(), "hostname", PodHostname(config) + "\n", owner));
  if (config.security.namespaces.ipc != NamespaceMode::kNode) {
    RETURN_IF_ERROR(MountShm(pod_dir + "/shm", owner));
  }
  return Ok();
}

Status UnmountPodFiles(const std::string& pod_dir) {
  std::string shm = pod_dir + "/shm";
  if (umount2(shm.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL &&
      errno != ENOENT) {
    return ErrnoError(StrCat("unmount ", shm));
  }
  return Ok();
}

}  // namespace berth::runtime
