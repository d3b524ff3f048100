// Cgroups of containers: one driver, chosen at start, that knows the host's cgroup version.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/strings.h"
#include "runtime/types.h"

namespace berth::runtime {

enum class CgroupVersion { kV1, kV2 };

// Which devices a container may use (runtime-spec config-linux.md, "Allowed Device list").
struct DeviceRule {
  bool allow = false;
  char type = 'a';                 // 'a', 'b', 'c'
  int64_t major = -1, minor = -1;  // -1: all
  std::string access = "rwm";
};

// How a process gets into the cgroup. All paths are absolute paths of the host.
struct CgroupJoin {
  // v2: the directory, for CLONE_INTO_CGROUP. Empty on v1.
  std::string directory;
  // v1: the `tasks` file of every hierarchy. The child writes "0" into each while it has one
  // thread: moving oneself needs no lock on all threads of the machine, while writing somebody's
  // pid into cgroup.procs waits for an RCU grace period (6 ms measured, kernel 6.18).
  std::vector<std::string> tasks_files;
  // Holds the count of OOM kills: "oom_kill N" in v2's memory.events and v1's memory.oom_control.
  // Empty if there is no memory controller.
  std::string oom_file;
  // Below it execs make a cgroup of their own, so that they can be killed with all their children:
  // v2 the directory, v1 the one in the pids hierarchy (else any other).
  std::string exec_parent;
};

// A file of a cgroup and what is in it.
struct FormerSetting {
  std::string controller, file;
  // Nothing: it is not known, the file cannot be read.
  std::optional<std::string> value;
};

// What an update is about to replace, limits that are not set included; a record can hold it.
struct FormerLimits {
  std::vector<FormerSetting> files;  // in the order in which they are to be written back
  std::vector<FormerSetting> unit;   // of systemd's unit, where that is another cgroup
};

// `path` is a cgroup's place in the hierarchy, "/kubepods/burstable/podX/<id>", as ParentPath,
// PodPath and ContainerPath make it. Every method is idempotent; errors name the file and the
// value. Thread-safe. Where systemd makes the cgroups a call waits for it, but no longer than 30 s.
class CgroupDriver {
 public:
  virtual ~CgroupDriver() = default;
  virtual CgroupVersion version() const = 0;
  // Systemd makes the cgroups; else this driver does.
  virtual bool is_systemd() const { return false; }

  // Where the cgroup is that a pod names as its cgroup_parent: an absolute path without ".." and
  // empty parts for cgroupfs, a slice for systemd. InvalidArgument.
  virtual Result<std::string> ParentPath(const std::string& parent) const = 0;
  // The parent of pods that name none, unless the configuration has another.
  virtual std::string DefaultParent() const { return "/berth"; }
  // The cgroup of a pod's own, and that of a container.
  virtual std::string PodPath(const std::string& parent_path, const std::string& pod_id) const {
    return StrCat(parent_path, "/", pod_id);
  }
  virtual std::string ContainerPath(const std::string& parent_path, const std::string& id) const {
    return StrCat(parent_path, "/", id);
  }
  // Whether this machine can set all that is asked for; the error (FailedPrecondition) names the
  // field or the controller that it lacks. The values are checked by CheckResources.
  virtual Status CheckSupported(const LinuxResources& resources) const = 0;
  // Makes it with its parents and sets limits and devices. On failure nothing is left of it.
  // `shim`: the process that will be the container's parent, 0 for a pod. Systemd wants a scope to
  // have a process from the first moment to the last: the scope goes when the shim ends.
  virtual Status Create(const std::string& path, const LinuxResources& resources,
                        const std::vector<DeviceRule>& devices, int32_t shim) = 0;
  virtual CgroupJoin Join(const std::string& path) const = 0;
  // All or nothing: on failure the former values are back, or the error says which are not.
  virtual Status Update(const std::string& path, const LinuxResources& resources) = 0;
  // What Update with the same arguments would replace now, for Restore.
  virtual Result<FormerLimits> LimitsBefore(const std::string& path,
                                            const LinuxResources& resources) const = 0;
  // Puts back all of these, after an update that a later step has made void, or after one that was
  // cut off anywhere. Tries every part and names those that it could not put back. A limit of
  // memory that is now below what is in use is one of these: nobody is killed for an undo.
  virtual Status Restore(const std::string& path, const FormerLimits& former) = 0;
  // An O_PATH descriptor of the cgroup in the hierarchy of the controller ("memory"); v2 has one
  // hierarchy for all. NotFound if there is no such cgroup or controller. For readers of statistics
  // (runtime/cgroup_stats.h).
  virtual Result<UniqueFd> OpenDirectory(const std::string& path,
                                         std::string_view controller) const = 0;
  // Ids of the processes in it and below.
  virtual Result<std::vector<int32_t>> Processes(const std::string& path) const = 0;
  // SIGKILL to every process in it and below.
  virtual Status Kill(const std::string& path) = 0;
  // Removes it with what is below. EBUSY (FailedPrecondition) while processes are left after a
  // second.
  virtual Status Remove(const std::string& path) = 0;
  // Paths of the cgroups below `parent_path`, of those that Create made and of any that are in
  // them, parents first (for the sweep after a restart).
  virtual Result<std::vector<std::string>> List(const std::string& parent_path) const = 0;
};

// InvalidArgument names the field: negative limits, cpuset syntax, period and quota ranges...
Status CheckResources(const LinuxResources& resources);

// The cgroupfs driver for what is mounted below `mount_root`: "/sys/fs/cgroup" on a real machine, a
// fixture in tests.
Result<std::unique_ptr<CgroupDriver>> NewCgroupfsDriver(
    const std::string& mount_root = "/sys/fs/cgroup");

// The driver of that name: "cgroupfs", "systemd", or "auto", which is systemd where it is process 1
// and cgroups are of version 2 alone. FailedPrecondition says what "systemd" lacks here.
Result<std::unique_ptr<CgroupDriver>> NewCgroupDriver(const std::string& name);

}  // namespace berth::runtime
