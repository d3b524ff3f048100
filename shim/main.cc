// berth-shim: the parent of one container's processes. Started by berthd with these descriptors:
//   0  the listening socket      1  the container's state directory      2  where a last word goes
// and with the arguments "join N": from 3 on, N files of a cgroup that it moves into.
// It changes nothing until the daemon asks for a launch (docs/SHIM_PROTOCOL.md).

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "shim/pod_init.h"
#include "shim/pod_namespaces.h"
#include "shim/server.h"

namespace berth::shim {
namespace {

// Above the numbers that belong to standard streams, so that a child may overwrite those.
Result<UniqueFd> TakeInherited(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy.ok()) return ErrnoError("inherited descriptor");
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.ok() || dup2(null.get(), fd) < 0) return ErrnoError("/dev/null");
  return copy;
}

// One that cannot move works all the same, where it is.
void JoinCgroup(int files) {
  for (int fd = 3; fd < 3 + files; ++fd) {
    const UniqueFd file(fd);
    Status joined = WriteAll(fd, "0");
    if (joined.ok()) continue;
    (void)WriteAll(2, StrCat("berth-shim: join cgroup: ", joined.error().message(), "\n"));
  }
}

Status Serve() {
  ASSIGN_OR_RETURN(auto listener, TakeInherited(0));
  ASSIGN_OR_RETURN(auto state_dir, TakeInherited(1));
  // Terminal and service-manager signals are not for containers; only SIGKILL ends a shim.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  UniqueFd signals(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.ok()) return ErrnoError("signalfd");
  // Orphans of a container in the host's PID namespace come to its shim, not to the machine's init.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return ErrnoError("PR_SET_CHILD_SUBREAPER");
  // What children inherit until their exec: nobody in the container may trace them (CVE-2016-9962).
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return ErrnoError("PR_SET_DUMPABLE");
  // Started from a descriptor, its name would be that descriptor's number.
  (void)prctl(PR_SET_NAME, "berth-shim", 0, 0, 0);
  // The last to go when memory is short: without its shim a container's end would not be known.
  (void)WriteFile("/proc/self/oom_score_adj", "-999");
  Server(std::move(listener), std::move(signals), std::move(state_dir)).Run();
  return Ok();
}

}  // namespace
}  // namespace berth::shim

int main(int argc, char** argv) {
  if (argc >= 2 && strcmp(argv[1], "pod-init") == 0) {
    return berth::shim::RunPodInit(berth::shim::ParsePodInit(argc - 2, argv + 2));
  }
  if (argc == 2 && strcmp(argv[1], "pod-namespaces") == 0) return berth::shim::RunPodNamespaces();
  if (argc == 3 && strcmp(argv[1], "join") == 0) {
    berth::shim::JoinCgroup(berth::ParseNumber<int>(argv[2]).value_or(0));
  }
  berth::Status status = berth::shim::Serve();
  if (status.ok()) return 0;
  (void)berth::WriteAll(2, berth::StrCat("berth-shim: ", status.error().message(), "\n"));
  return 1;
}
