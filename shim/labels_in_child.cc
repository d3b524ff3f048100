#include "shim/labels_in_child.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::shim {

namespace {

constexpr char kAppArmorFile[] = "/proc/self/attr/apparmor/exec";
constexpr char kSelinuxFile[] = "/proc/self/attr/exec";

Result<UniqueFd> OpenLabelFile(const char* path) {
  ASSIGN_OR_RETURN(auto file, Open(path, O_WRONLY | O_NOFOLLOW));
  struct statfs fs {};
  if (fstatfs(file.get(), &fs) != 0) return ErrnoError(path);
  if (fs.f_type != PROC_SUPER_MAGIC) {
    return Error(Code::kFailedPrecondition, StrCat(path, " is not in a procfs"));
  }
  return file;
}

Status WriteLabel(int file, const std::string& text, const std::string& name) {
  if (write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return Ok();
  return ErrnoError(StrCat("apply \"", Printable(name), "\""));
}

}  // namespace

Result<LabelFiles> OpenLabelFilesInChild(const wire::ProcessPlan& plan) {
  LabelFiles files;
  if (!plan.apparmor_profile.empty()) {
    ASSIGN_OR_RETURN(files.apparmor, OpenLabelFile(kAppArmorFile), "AppArmor");
  }
  if (!plan.selinux_label.empty()) {
    ASSIGN_OR_RETURN(files.selinux, OpenLabelFile(kSelinuxFile), "SELinux");
  }
  return files;
}

Status ApplyLabelsInChild(const wire::ProcessPlan& plan, const LabelFiles& files) {
  if (files.apparmor.ok()) {
    RETURN_IF_ERROR(WriteLabel(files.apparmor.get(), StrCat("exec ", plan.apparmor_profile),
                               plan.apparmor_profile),
                    "AppArmor profile");
  }
  if (files.selinux.ok()) {
    RETURN_IF_ERROR(WriteLabel(files.selinux.get(), plan.selinux_label, plan.selinux_label),
                    "SELinux label");
  }
  return Ok();
}

}  // namespace berth::shim
