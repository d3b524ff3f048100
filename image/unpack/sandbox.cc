#include "image/unpack/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "base/file.h"
#include "image/unpack/limits.h"

namespace berth::image {

namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the system call filter does not know this architecture"
#endif

// A sanitizer's runtime needs address space without bound and system calls of its own, some of them
// only now and then: in such a build the filter is there, but lets through what it does not know.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr rlim_t kMaxOpenFiles = kMaxDepth + 200;

constexpr int kCapabilities[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
                                 CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP};

// Files by descriptor, memory, threads that exist, and the end.
constexpr int kAllowed[] = {
    SYS_openat,         SYS_close,
    SYS_pwrite64,       SYS_utimensat,
    SYS_read,           SYS_write,
    SYS_futex,          SYS_mkdirat,
    SYS_symlinkat,      SYS_linkat,
    SYS_mknodat,        SYS_unlinkat,
    SYS_readlinkat,     SYS_newfstatat,
    SYS_fstat,          SYS_fchown,
    SYS_fchownat,       SYS_fchmod,
    SYS_fchmodat,       SYS_fsetxattr,
    SYS_ftruncate,      SYS_openat2,
    SYS_getdents64,     SYS_fcntl,
    SYS_lseek,          SYS_brk,
    SYS_munmap,         SYS_mremap,
    SYS_madvise,        SYS_clock_gettime,
    SYS_getrandom,      SYS_exit,
    SYS_exit_group,     SYS_rt_sigreturn,
    SYS_rt_sigprocmask, SYS_flistxattr,
    SYS_fgetxattr,      SYS_getpid,
    SYS_gettid,         SYS_tgkill,
    SYS_sched_yield,    SYS_restart_syscall,
};
// Allowed unless PROT_EXEC is among the protections, their third argument.
constexpr int kAllowedWithoutExec[] = {SYS_mmap, SYS_mprotect};

Status MakeRoot(int directory) {
  // Before unshare: mounts of another namespace cannot be cloned.
  UniqueFd tree(static_cast<int>(
      syscall(SYS_open_tree, directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree.ok()) return ErrnoError("open_tree");
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError("unshare mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return ErrnoError("make mounts private");
  }
  if (syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError("move_mount");
  }
  if (fchdir(tree.get()) != 0) return ErrnoError("fchdir");
  // Both on one directory: the old root ends up under the new one, and goes.
  if (syscall(SYS_pivot_root, ".", ".") != 0) return ErrnoError("pivot_root");
  if (umount2(".", MNT_DETACH) != 0) return ErrnoError("umount old root");
  if (chdir("/") != 0) return ErrnoError("chdir");
  return Ok();
}

Status SetLimit(int resource, rlim_t value) {
  const rlimit limit{value, value};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
    return ErrnoError("setrlimit");
  }
  return Ok();
}

Status SetLimits() {
  RETURN_IF_ERROR(SetLimit(RLIMIT_CORE, 0));
  RETURN_IF_ERROR(SetLimit(RLIMIT_NOFILE, kMaxOpenFiles));
  if (!kSanitized) RETURN_IF_ERROR(SetLimit(RLIMIT_AS, kMaxAddressSpace));
  return Ok();
}

bool IsKept(int capability) {
  for (int kept : kCapabilities) {
    if (kept == capability) return true;
  }
  return false;
}

Status DropPrivileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoError("no_new_privs");
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (!IsKept(capability) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      return ErrnoError("drop bounding capability");
    }
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int capability : kCapabilities) {
    data[capability / 32].permitted |= 1U << (capability % 32);
    data[capability / 32].effective |= 1U << (capability % 32);
  }
  if (syscall(SYS_capset, &header, data) != 0) return ErrnoError("capset");
  return Ok();
}

std::vector<sock_filter> BuildFilter() {
  const auto load = [](size_t offset) {
    return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
  };
  const auto answer = [](uint32_t value) { return sock_filter BPF_STMT(BPF_RET | BPF_K, value); };
  // Goes on with the next but one if equal, else skips what belongs to the case.
  const auto unless_equal_skip = [](int value, uint8_t skip) {
    return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(value), 0, skip);
  };
  std::vector<sock_filter> filter = {
      load(offsetof(seccomp_data, arch)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      answer(SECCOMP_RET_KILL_PROCESS),
      load(offsetof(seccomp_data, nr)),
  };
  const auto allow = [&](int number) {
    filter.push_back(unless_equal_skip(number, 1));
    filter.push_back(answer(SECCOMP_RET_ALLOW));
  };
  for (int number : kAllowed) allow(number);
  for (int number : kAllowedWithoutExec) {
    filter.push_back(unless_equal_skip(number, 4));
    filter.push_back(load(offsetof(seccomp_data, args[2])));  // the low half, little-endian
    filter.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0));
    filter.push_back(answer(SECCOMP_RET_ALLOW));
    filter.push_back(answer(SECCOMP_RET_KILL_PROCESS));
  }
  filter.push_back(answer(kSanitized ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS));
  return filter;
}

}  // namespace

Result<UniqueFd> EnterSandbox(int directory) {
  umask(0);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  RETURN_IF_ERROR(MakeRoot(directory), "sandbox");
  ASSIGN_OR_RETURN(auto root, Open("/", O_RDONLY | O_DIRECTORY), "sandbox");
  // It would keep the directory reachable through the old mount.
  close(directory);
  RETURN_IF_ERROR(SetLimits(), "sandbox");
  RETURN_IF_ERROR(DropPrivileges(), "sandbox");
  return root;
}

Status FilterSystemCalls() {
  std::vector<sock_filter> filter = BuildFilter();
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
    return ErrnoError("sandbox: system call filter");
  }
  return Ok();
}

}  // namespace berth::image
