#include "shim/privileges_in_child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/process.h"

namespace berth::shim {

namespace {

// Raw system calls: glibc's set*id functions want to signal every thread of the process, which
// needs state that a cloned child should not rely on.
Status SetIds(const wire::ProcessPlan& plan) {
  if (syscall(SYS_setgroups, plan.groups.size(), plan.groups.data()) != 0) {
    return ErrnoError("setgroups");
  }
  if (syscall(SYS_setresgid, plan.gid, plan.gid, plan.gid) != 0) {
    return ErrnoError(StrCat("set group id ", plan.gid));
  }
  if (syscall(SYS_setresuid, plan.uid, plan.uid, plan.uid) != 0) {
    return ErrnoError(StrCat("set user id ", plan.uid));
  }
  return Ok();
}

Status DropBoundingSet(uint64_t keep) {
  for (int capability = 0; capability < 64; ++capability) {
    if ((keep >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // the kernel knows no capability of this number, nor above
      return ErrnoError(StrCat("drop capability ", capability));
    }
  }
  return Ok();
}

Status SetCapabilities(const wire::ProcessPlan& plan) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int i = 0; i < 2; ++i) {
    data[i].effective = static_cast<uint32_t>(plan.effective >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(plan.permitted >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(plan.inheritable >> (32 * i));
  }
  if (syscall(SYS_capset, &header, data) != 0) return ErrnoError("capset");
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if ((plan.ambient >> capability & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) {
      return ErrnoError(StrCat("raise ambient capability ", capability));
    }
  }
  return Ok();
}

Status InstallSeccomp(const std::string& filter) {
  if (filter.empty()) return Ok();
  sock_fprog program{static_cast<unsigned short>(filter.size() / sizeof(sock_filter)),
                     reinterpret_cast<sock_filter*>(const_cast<char*>(filter.data()))};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    return ErrnoError("install seccomp filter");
  }
  return Ok();
}

std::string_view FindEnv(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& entry : env) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return std::string_view(entry).substr(name.size() + 1);
    }
  }
  return {};
}

Error ExecError(const std::string& program, int cause) {
  // A user's mistake, not the node's: so never NotFound, which kubelet would read as "no
  // container".
  return ErrnoError(cause, StrCat("exec \"", Printable(program), "\""))
      .WithCode(Code::kInvalidArgument);
}

}  // namespace

Status SetLimitsInChild(const wire::ProcessPlan& plan) {
  for (const wire::Rlimit& limit : plan.rlimits) {
    const auto resource = static_cast<__rlimit_resource>(limit.resource);
    rlimit value{limit.soft, limit.hard};
    if (prlimit(0, resource, &value, nullptr) == 0) continue;
    // More than the daemon's own hard limit needs CAP_SYS_RESOURCE; without it that is all there
    // is.
    rlimit own{};
    if (errno == EPERM && getrlimit(resource, &own) == 0) {
      value = {std::min(value.rlim_cur, own.rlim_max), std::min(value.rlim_max, own.rlim_max)};
      if (prlimit(0, resource, &value, nullptr) == 0) continue;
    }
    return ErrnoError(StrCat("set rlimit ", limit.resource, " to ", limit.soft, ":", limit.hard));
  }
  return Ok();
}

Status DropPrivilegesInChild(const wire::ProcessPlan& plan) {
  RETURN_IF_ERROR(SetLimitsInChild(plan));
  umask(plan.umask);
  // Without no_new_privs only CAP_SYS_ADMIN may install a filter, so it comes first; with it, last,
  // so that the filter need not allow what the steps before it call.
  if (!plan.no_new_privs) RETURN_IF_ERROR(InstallSeccomp(plan.seccomp));
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return ErrnoError("PR_SET_KEEPCAPS");
  RETURN_IF_ERROR(DropBoundingSet(plan.bounding));
  RETURN_IF_ERROR(SetIds(plan));
  RETURN_IF_ERROR(SetCapabilities(plan));
  if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return ErrnoError("PR_SET_KEEPCAPS");
  if (plan.no_new_privs) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoError("PR_SET_NO_NEW_PRIVS");
    RETURN_IF_ERROR(InstallSeccomp(plan.seccomp));
  }
  return Ok();
}

Status EnterWorkingDirectoryInChild(const wire::ProcessPlan& plan) {
  if (chdir(plan.cwd.c_str()) != 0) {
    // Without the errno: this code with one stands for a failed execve(2).
    return Error(Code::kInvalidArgument,
                 ErrnoError(StrCat("working directory \"", Printable(plan.cwd), "\"")).message());
  }
  char path[PATH_MAX];
  // getcwd answers "(unreachable)/..." for a directory outside of the root.
  if (syscall(SYS_getcwd, path, sizeof path) < 0 || path[0] != '/') {
    return Error(Code::kInvalidArgument, StrCat("working directory \"", Printable(plan.cwd),
                                                "\" is outside of the container"));
  }
  return Ok();
}

Result<Program> PrepareProgramInChild(const wire::ProcessPlan& plan) {
  if (plan.args.empty()) return Error(Code::kInvalidArgument, "no command");
  Program program;
  program.args = ExecPointers(plan.args);
  program.env = ExecPointers(plan.env);
  const std::string& name = plan.args[0];
  if (name.find('/') != std::string::npos) {
    program.paths.push_back(name);
  } else {
    for (std::string_view directory : Split(FindEnv(plan.env, "PATH"), ':')) {
      if (!directory.empty() && !name.empty())
        program.paths.push_back(StrCat(directory, "/", name));
    }
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  // Nothing of the host's may be open in the container (CVE-2015-3627, CVE-2024-21626).
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return ErrnoError("close_range");
  return program;
}

Error ExecuteInChild(const wire::ProcessPlan& plan, const Program& program) {
  int cause = ENOENT;
  for (const std::string& path : program.paths) {
    execve(path.c_str(), program.args.data(), program.env.data());
    if (errno != ENOENT && errno != ENOTDIR) cause = errno;
  }
  const std::string& name = plan.args[0];
  if (name.find('/') != std::string::npos) return ExecError(name, errno);
  if (cause != ENOENT) return ExecError(name, cause);
  return {Code::kInvalidArgument,
          StrCat("exec \"", Printable(name), "\": executable file not found in $PATH"), ENOENT};
}

}  // namespace berth::shim
