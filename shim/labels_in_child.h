// AppArmor's profile and SELinux's label of a program, which the kernel applies at the exec.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// Opened while /proc is still the host's: the container's may have been made to be another
// (CVE-2019-16884, CVE-2025-52881). Empty where the plan has none.
struct LabelFiles {
  UniqueFd apparmor, selinux;
};
Result<LabelFiles> OpenLabelFilesInChild(const wire::ProcessPlan& plan);

Status ApplyLabelsInChild(const wire::ProcessPlan& plan, const LabelFiles& files);

}  // namespace berth::shim
