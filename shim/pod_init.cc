#include "shim/pod_init.h"

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

#include "base/fd.h"
#include "shim/user_namespace.h"

namespace berth::shim {

namespace {

// An empty read-only tmpfs as root: nothing of the host is behind /proc/1/root.
bool EnterEmptyRootInChild() {
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
  if (mount("none", "/proc", "tmpfs", kFlags, "size=0,mode=555") != 0 || chdir("/proc") != 0)
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

[[noreturn]] void ReapForeverInChild() {
  if (!EnterEmptyRootInChild() || !DropEverythingInChild()) _exit(1);
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

int RunPodInit(bool in_user_namespace) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  if (in_user_namespace && !EnterUserNamespaceInChild(3).ok()) return 1;
  clone_args args{};
  args.flags = CLONE_NEWPID;
  args.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ReapForeverInChild();
  if (pid < 0) return 1;
  return WriteAll(1, StrCat(pid, "\n")).ok() ? 0 : 1;
}

}  // namespace berth::shim
