// The Container Device Interface: vendors of devices describe in JSON files of the node what a
// container needs for one of theirs, and a container asks for it by name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/oci_spec.h"

namespace berth::runtime {

struct CdiNode {
  Device device;
  std::optional<uint32_t> mode, uid, gid;  // else the host's
  // What the host's node must be: "c", "b"; empty and 0: whatever it is.
  std::string type;
  uint32_t major = 0, minor = 0;
};

// What devices add to a container.
struct CdiEdits {
  std::vector<std::string> env;  // "NAME=value"
  std::vector<CdiNode> nodes;
  std::vector<OciMount> mounts;
  std::vector<int64_t> groups;
};

// What the devices, each "vendor/class=device", need together, in their order; a file's own edits
// come before those of its first device. A later directory's device replaces an earlier one's.
// Reads the files each time, since vendors write them while nodes run; those that are wrong count
// only if a device is not found in the others, and are then named. NotFound for a device that
// no file has; Unimplemented for edits that Berth does not make (hooks among them): a device
// is given whole or not at all.
Result<CdiEdits> FindCdiDevices(const std::vector<std::string>& names,
                                const std::vector<std::string>& directories);

}  // namespace berth::runtime
