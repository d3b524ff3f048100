// The Container Device Interface: vendors of devices describe in files of the node what a container
// needs for one of theirs, and a container asks for it by name. The rules are those of the CDI
// specification, 1.1.0.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/cdi_edits.h"

namespace berth::runtime {

// What the devices, each "vendor/class=device", need together, in their order; a file's own edits
// come before those of its first device. Read are the directories' *.json and *.yaml, of at most
// 4 MiB. A later directory's device replaces an earlier one's. Reads the files each time, since
// vendors write them while nodes run; those that are wrong count only if a device is not found in
// the others, and are then named. NotFound for a device that no file has, FailedPrecondition for
// one that two files of a directory have; errors of its edits as AddCdiEdits gives them, with the
// file.
Result<CdiEdits> FindCdiDevices(const std::vector<std::string>& names,
                                const std::vector<std::string>& directories);

}  // namespace berth::runtime
