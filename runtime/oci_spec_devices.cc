#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/file.h"
#include "runtime/cdi.h"
#include "runtime/oci_spec_parts.h"
#include "runtime/user_namespace.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxDevices = 8192;
constexpr int kMaxDepth = 8;

// Of the host's /dev what a privileged container has of its own instead, or nothing of.
constexpr std::array<std::string_view, 7> kOwnInDev = {"console", "fd",  "mqueue", "ptmx",
                                                       "pts",     "shm", ".udev"};

// The nodes that every container has (runtime-spec config-linux.md, "Default Devices").
std::vector<OciDevice> DefaultDevices() {
  return {{"/dev/null", 'c', 1, 3},   {"/dev/zero", 'c', 1, 5},    {"/dev/full", 'c', 1, 7},
          {"/dev/random", 'c', 1, 8}, {"/dev/urandom", 'c', 1, 9}, {"/dev/tty", 'c', 5, 0}};
}

// All is denied but: making nodes (which opens nothing), those nodes, and terminals.
std::vector<DeviceRule> DefaultRules() {
  std::vector<DeviceRule> rules = {
      {false, 'a', -1, -1, "rwm"}, {true, 'c', -1, -1, "m"}, {true, 'b', -1, -1, "m"}};
  for (const OciDevice& device : DefaultDevices()) {
    rules.push_back({true, device.type, device.major, device.minor, "rwm"});
  }
  rules.push_back({true, 'c', 5, 1, "rwm"});     // console
  rules.push_back({true, 'c', 5, 2, "rwm"});     // ptmx
  rules.push_back({true, 'c', 136, -1, "rwm"});  // pts
  return rules;
}

bool IsDevice(const struct stat& st) {
  return S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
}

OciDevice ToDevice(std::string path, const struct stat& st) {
  return {std::move(path),
          S_ISCHR(st.st_mode) ? 'c' : 'b',
          static_cast<int64_t>(major(st.st_rdev)),
          static_cast<int64_t>(minor(st.st_rdev)),
          static_cast<uint32_t>(st.st_mode & 07777),
          st.st_uid,
          st.st_gid};
}

// Looks at files without opening them for use: opening a device calls its driver.
class Collector {
 public:
  // What lies at `name` of `directory`: a device, or a directory with everything in it. Links are
  // not followed, other files left out.
  Status Add(int directory, const std::string& name, const std::string& path, int depth) {
    UniqueFd file(openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!file.ok()) return errno == ENOENT ? Ok() : Status(ErrnoError(path));  // just gone
    struct stat st;
    if (fstat(file.get(), &st) != 0) return ErrnoError(path);
    if (S_ISDIR(st.st_mode)) return AddBelow(file.get(), path, depth);
    if (!IsDevice(st)) return Ok();
    if (found_.size() >= kMaxDevices) {
      return Error(Code::kInvalidArgument, StrCat("more than ", kMaxDevices, " devices"));
    }
    found_.push_back(ToDevice(path, st));
    return Ok();
  }

  Status AddBelow(int path_fd, const std::string& path, int depth) {
    if (depth > kMaxDepth) return Error(Code::kInvalidArgument, StrCat(path, " nests too deep"));
    ASSIGN_OR_RETURN(UniqueFd directory, OpenAt(path_fd, ".", O_RDONLY | O_DIRECTORY), path);
    return ForEachEntry(directory.get(), [&](const std::string& name) {
      bool own = depth == 0 && skip_own_ &&
                 std::find(kOwnInDev.begin(), kOwnInDev.end(), name) != kOwnInDev.end();
      return own ? Ok() : Add(directory.get(), name, StrCat(path, "/", name), depth + 1);
    });
  }

  void SkipOwnInDev() { skip_own_ = true; }
  std::vector<OciDevice> Take() { return std::move(found_); }

 private:
  bool skip_own_ = false;
  std::vector<OciDevice> found_;
};

Result<std::vector<OciDevice>> AllHostDevices() {
  ASSIGN_OR_RETURN(UniqueFd dev, Open("/dev", O_PATH | O_DIRECTORY));
  Collector collector;
  collector.SkipOwnInDev();
  RETURN_IF_ERROR(collector.AddBelow(dev.get(), "/dev", 0));
  return collector.Take();
}

Result<std::string> CheckPermissions(std::string_view field, const std::string& permissions) {
  if (permissions.empty()) return std::string("rwm");
  for (char c : permissions) {
    bool known = c == 'r' || c == 'w' || c == 'm';
    if (!known || std::count(permissions.begin(), permissions.end(), c) > 1) {
      return InvalidField(field, StrCat("\"", Printable(permissions), "\" is not of r, w and m"));
    }
  }
  return permissions;
}

// The device that host_path names, or all in the directory that it names, under container_path.
Result<std::vector<OciDevice>> ResolveDevice(const std::string& field, const Device& device) {
  ASSIGN_OR_RETURN(std::string host, CleanContainerPath(field + ".host_path", device.host_path));
  std::string target = host;
  if (!device.container_path.empty()) {
    ASSIGN_OR_RETURN(target, CleanContainerPath(field + ".container_path", device.container_path));
  }
  if (target == "/" || IsAtOrBelow(target, "/proc") || IsAtOrBelow(target, "/sys")) {
    return InvalidField(field + ".container_path",
                        StrCat("no device can be made at \"", Printable(target), "\""));
  }
  ASSIGN_OR_RETURN(UniqueFd file, Open(host, O_PATH), field, ".host_path");
  struct stat st;
  if (fstat(file.get(), &st) != 0) return ErrnoError(field + ".host_path");
  if (IsDevice(st)) return std::vector<OciDevice>{ToDevice(target, st)};
  if (!S_ISDIR(st.st_mode)) {
    return InvalidField(field + ".host_path",
                        StrCat("\"", Printable(host), "\" is neither device nor directory"));
  }
  Collector collector;
  RETURN_IF_ERROR(collector.AddBelow(file.get(), target, 0), field, ".host_path");
  std::vector<OciDevice> found = collector.Take();
  if (found.empty()) {
    return InvalidField(field + ".host_path",
                        StrCat("no device in directory \"", Printable(host), "\""));
  }
  return found;
}

// One node for each path: a later one replaces an earlier.
void AddDevice(std::vector<OciDevice>& devices, OciDevice device) {
  auto same = [&](const OciDevice& other) { return other.path == device.path; };
  auto it = std::find_if(devices.begin(), devices.end(), same);
  if (it == devices.end()) {
    devices.push_back(std::move(device));
  } else {
    *it = std::move(device);
  }
}

// All that `device` stands for, with the rules that let the container use it.
Status AddHostDevice(const std::string& field, const Device& device, bool privileged,
                     const std::function<Status(OciDevice&)>& change, OciSpec& spec) {
  ASSIGN_OR_RETURN(std::string access,
                   CheckPermissions(field + ".permissions", device.permissions));
  ASSIGN_OR_RETURN(std::vector<OciDevice> found, ResolveDevice(field, device));
  if (spec.devices.size() + found.size() > kMaxDevices) {
    return InvalidField("devices", StrCat("more than ", kMaxDevices));
  }
  for (OciDevice& one : found) {
    RETURN_IF_ERROR(change(one), field);
    if (!privileged) spec.device_rules.push_back({true, one.type, one.major, one.minor, access});
    AddDevice(spec.devices, std::move(one));
  }
  return Ok();
}

// A description may have been written for another boot, in which the number was another driver's.
Status CheckIsMeant(const CdiNode& node, const OciDevice& device) {
  const bool same = (node.type.empty() || node.type == std::string(1, device.type)) &&
                    (node.major == 0 || (node.major == device.major && node.minor == device.minor));
  if (same) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat(Printable(node.device.host_path), " is ", std::string(1, device.type), " ",
                      device.major, ":", device.minor, " here, and described as ",
                      Printable(node.type), " ", node.major, ":", node.minor));
}

// What the file says; else the container's user has what is asked for by its name, as with other
// runtimes. In a user namespace nodes stay the host owner's (shim/rootfs_in_child.h).
void TakeOwner(const SpecInputs& inputs, const CdiNode& node, OciDevice& device) {
  uint32_t uid = device.uid, gid = device.gid;
  if (!HasUserNamespace(inputs.pod.security.namespaces)) {
    if (inputs.user.uid > 0) uid = static_cast<uint32_t>(inputs.user.uid);
    if (inputs.user.gid > 0) gid = static_cast<uint32_t>(inputs.user.gid);
  }
  device.uid = node.uid.value_or(uid);
  device.gid = node.gid.value_or(gid);
}

// A variable that is there already gets the device's value.
void SetEnv(std::vector<std::string>& env, const std::string& variable) {
  const std::string name = variable.substr(0, variable.find('=') + 1);
  auto it = std::find_if(env.begin(), env.end(),
                         [&](const std::string& other) { return other.starts_with(name); });
  if (it == env.end()) {
    env.push_back(variable);
  } else {
    *it = variable;
  }
}

}  // namespace

Status BuildDevices(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerConfig& container = inputs.container;
  spec.devices = DefaultDevices();
  spec.device_rules = DefaultRules();
  if (container.security.privileged) {
    ASSIGN_OR_RETURN(spec.devices, AllHostDevices(), "list the host's devices");
    // Those are among them, unless the host's /dev is poor.
    for (OciDevice& device : DefaultDevices()) AddDevice(spec.devices, std::move(device));
    spec.device_rules = {{true, 'a', -1, -1, "rwm"}};
  }
  for (size_t i = 0; i < container.devices.size(); ++i) {
    RETURN_IF_ERROR(AddHostDevice(
        StrCat("devices[", i, "]"), container.devices[i], container.security.privileged,
        [](OciDevice&) { return Ok(); }, spec));
  }
  return Ok();
}

Status BuildCdiDevices(const SpecInputs& inputs, OciSpec& spec) {
  const ContainerConfig& container = inputs.container;
  ASSIGN_OR_RETURN(CdiEdits edits, FindCdiDevices(container.cdi_devices, inputs.cdi_dirs));
  for (const CdiNode& node : edits.nodes) {
    auto change = [&](OciDevice& device) -> Status {
      RETURN_IF_ERROR(CheckIsMeant(node, device));
      device.file_mode = node.mode.value_or(device.file_mode);
      TakeOwner(inputs, node, device);
      return Ok();
    };
    RETURN_IF_ERROR(AddHostDevice("CDI_devices: deviceNodes", node.device,
                                  container.security.privileged, change, spec));
  }
  for (OciMount& mount : edits.mounts) {
    if (mount.type == "bind") {
      RETURN_IF_ERROR(Open(mount.source, O_PATH), "CDI_devices: mounts.hostPath");
    }
    // One mount for each path, as with nodes.
    std::erase_if(spec.mounts,
                  [&](const OciMount& other) { return other.destination == mount.destination; });
    spec.mounts.push_back(std::move(mount));
  }
  for (const std::string& variable : edits.env) SetEnv(spec.process.env, variable);
  spec.hooks = std::move(edits.hooks);
  std::vector<int64_t>& groups = spec.process.user.supplemental_groups;
  for (int64_t group : edits.groups) {
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  return Ok();
}

}  // namespace berth::runtime
