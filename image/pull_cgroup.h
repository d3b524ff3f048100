// The cgroup of unpack workers: pods and their probes go first on a machine that pulls.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::image {

struct PullCgroupOptions {
  std::string path;      // "/berth-pull", from the root of the hierarchy; empty: none is made
  int cpu_weight = 100;  // 1 to 10000, as cgroup v2 counts: 100 is what others have
  int io_weight = 100;
  std::string mount_root = "/sys/fs/cgroup";
};

// Removed at the end unless somebody is in it. Another daemon may share it, and remove it too.
class PullCgroup {
 public:
  PullCgroup() = default;
  ~PullCgroup();
  PullCgroup(PullCgroup&& other) noexcept : options_(std::move(other.options_)) {
    other.options_.path.clear();
  }
  PullCgroup& operator=(PullCgroup&&) = delete;

  // A weight that the kernel has no means for (no such controller, or an I/O scheduler without
  // weights) is left out. InvalidArgument: the path; errors name the file.
  static Result<PullCgroup> Make(const PullCgroupOptions& options);

  // Files to which a process with one thread writes "0" to enter: v2 one, v1 one per hierarchy.
  // Makes the cgroup if it is not there (any more). None if there is to be no cgroup.
  Result<std::vector<UniqueFd>> Join() const;

 private:
  // The cgroup's directory in each hierarchy that matters.
  std::vector<std::string> Directories() const;
  bool IsV2() const;

  PullCgroupOptions options_;
};

}  // namespace berth::image
