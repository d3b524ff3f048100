#include "shim/pod_init.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "base/strings.h"
#include "shim/user_namespace.h"

namespace berth::shim {

namespace {

// An empty read-only tmpfs as root: nothing of the host is behind /proc/1/root.
bool EnterEmptyRootInChild(const char* mount_options) {
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
  if (mount("none", "/proc", "tmpfs", kFlags, mount_options) != 0 || chdir("/proc") != 0)
    return false;
  return syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0;
}

bool DropEverythingInChild() {
  for (int capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) break;
  }
  constexpr unsigned kNobody = 65534;
  if (syscall(SYS_setgroups, 0, nullptr) != 0) return false;
  // A small user namespace has no such id (EINVAL); then the capabilities go all the same, below.
  if (syscall(SYS_setresgid, kNobody, kNobody, kNobody) != 0 && errno != EINVAL) return false;
  if (syscall(SYS_setresuid, kNobody, kNobody, kNobody) != 0 && errno != EINVAL) return false;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) return false;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

// Last: the label's domain may do less than what came before. Opened only now, since the kernel
// wants the writer's credentials to be the opener's.
void TakeLabelInChild(int proc_self, const std::string& label) {
  const int file = openat(proc_self, "attr/current", O_WRONLY | O_CLOEXEC);
  if (file >= 0) (void)!write(file, label.data(), label.size());
}

[[noreturn]] void ReapForeverInChild(const std::string& label, const char* mount_options) {
  const int proc_self = label.empty() ? -1 : open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (!EnterEmptyRootInChild(mount_options) || !DropEverythingInChild()) _exit(1);
  if (!label.empty()) TakeLabelInChild(proc_self, label);
  prctl(PR_SET_NAME, "berth-pod-init", 0, 0, 0);
  setsid();
  close_range(0, ~0U, 0);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  while (true) {
    int number = 0;
    sigwait(&children, &number);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace

PodInitOptions ParsePodInit(int count, const char* const* arguments) {
  PodInitOptions options;
  int next = 0;
  if (next < count && strcmp(arguments[next], "in-user-namespace") == 0) {
    options.in_user_namespace = true;
    ++next;
  }
  if (next + 3 == count && strcmp(arguments[next], "labels") == 0) {
    options.process_label = arguments[next + 1];
    options.mount_label = arguments[next + 2];
  }
  return options;
}

int RunPodInit(const PodInitOptions& options) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  std::string mount_options = "size=0,mode=555";
  if (!options.mount_label.empty()) {
    mount_options += StrCat(",context=\"", options.mount_label, "\"");
  }
  if (options.in_user_namespace && !EnterUserNamespaceInChild(3).ok()) return 1;
  clone_args args{};
  args.flags = CLONE_NEWPID;
  args.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ReapForeverInChild(options.process_label, mount_options.c_str());
  if (pid < 0) return 1;
  return WriteAll(1, StrCat(pid, "\n")).ok() ? 0 : 1;
}

}  // namespace berth::shim
