#include "shim/user_namespace.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::shim {

namespace {

constexpr uint32_t kNoId = UINT32_MAX;  // setfsuid(2): changes nothing, and tells the present one

std::string MapText(const std::vector<wire::IdRange>& ranges) {
  std::string text;
  for (const wire::IdRange& range : ranges) {
    text += StrCat(range.inside, " ", range.outside, " ", range.count, "\n");
  }
  return text;
}

}  // namespace

Result<UniqueFd> MakeUserNamespace(const std::vector<wire::IdRange>& uids,
                                   const std::vector<wire::IdRange>& gids) {
  clone_args args{};
  args.flags = CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return ErrnoError("new user namespace");
  if (pid == 0) {
    while (true) pause();
  }
  auto map = [&]() -> Result<UniqueFd> {
    RETURN_IF_ERROR(WriteFile(StrCat("/proc/", pid, "/uid_map"), MapText(uids)), "map user ids");
    RETURN_IF_ERROR(WriteFile(StrCat("/proc/", pid, "/gid_map"), MapText(gids)), "map group ids");
    return Open(StrCat("/proc/", pid, "/ns/user"), O_RDONLY);
  };
  auto made = map();
  kill(static_cast<pid_t>(pid), SIGKILL);
  while (waitpid(static_cast<pid_t>(pid), nullptr, 0) < 0 && errno == EINTR) {
  }
  return made;
}

Status EnterUserNamespaceInChild(int user_namespace) {
  if (setns(user_namespace, CLONE_NEWUSER) != 0) return ErrnoError("enter user namespace");
  // Until now its ids are the host's, which stand for nobody in there.
  if (syscall(SYS_setresgid, 0, 0, 0) != 0) return ErrnoError("group 0 of the user namespace");
  if (syscall(SYS_setresuid, 0, 0, 0) != 0) return ErrnoError("user 0 of the user namespace");
  return Ok();
}

Status OwnNewFilesInChild(uint32_t uid, uint32_t gid) {
  // Without this the capabilities for files would go with user id 0 (capabilities(7)).
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0) {
    return ErrnoError("PR_SET_SECUREBITS");
  }
  syscall(SYS_setfsgid, gid);
  syscall(SYS_setfsuid, uid);
  if (static_cast<uint32_t>(syscall(SYS_setfsgid, kNoId)) != gid ||
      static_cast<uint32_t>(syscall(SYS_setfsuid, kNoId)) != uid) {
    return Error(Code::kInternal, StrCat("cannot make files of ids ", uid, ":", gid));
  }
  return Ok();
}

}  // namespace berth::shim
