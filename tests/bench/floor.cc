// The floor of a pod start: namespaces, an overlay mount of the image's layer, the mounts of a
// default container, and exec, with no daemon, no API, no records and no network plugin around.
//
//   floor own|host LAYER SCRATCH COUNT
//
// Prints, COUNT times, the nanoseconds from the first system call to the exec of LAYER's /pause.
// SCRATCH gets a directory for each round and loses it again.
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/fd.h"
#include "base/file.h"
#include "base/time.h"
#include "tests/bench/usage.h"

namespace berth::bench {
namespace {

// What one round works with; made before the clone, so that the child only calls the kernel.
struct Round {
  std::string root;     // mount point of the overlay
  std::string overlay;  // its options
  bool host_network = false;
};

[[noreturn]] void FailInChild(int error_pipe, const char* what) {
  dprintf(error_pipe, "%s: %s", what, strerror(errno));
  _exit(127);
}

void Must(int error_pipe, long result, const char* what) {
  if (result < 0) FailInChild(error_pipe, what);
}

// The nodes and links of a container's /dev, in the current directory's dev/.
void MakeDevicesInChild(int error_pipe) {
  struct Device {
    const char* path;
    unsigned minor;
    unsigned major;
  };
  constexpr Device kDevices[] = {{"dev/null", 3, 1},   {"dev/zero", 5, 1},    {"dev/full", 7, 1},
                                 {"dev/random", 8, 1}, {"dev/urandom", 9, 1}, {"dev/tty", 0, 5}};
  for (const Device& device : kDevices) {
    Must(error_pipe, mknod(device.path, S_IFCHR | 0666, makedev(device.major, device.minor)),
         device.path);
  }
  Must(error_pipe, symlink("/proc/self/fd", "dev/fd"), "dev/fd");
  Must(error_pipe, symlink("/proc/self/fd/0", "dev/stdin"), "dev/stdin");
  Must(error_pipe, symlink("/proc/self/fd/1", "dev/stdout"), "dev/stdout");
  Must(error_pipe, symlink("/proc/self/fd/2", "dev/stderr"), "dev/stderr");
  Must(error_pipe, symlink("pts/ptmx", "dev/ptmx"), "dev/ptmx");
}

void MountDefaultsInChild(int error_pipe) {
  struct Mount {
    const char* type;
    const char* path;
    unsigned long flags;
    const char* data;
  };
  constexpr unsigned long kSafe = MS_NOSUID | MS_NOEXEC | MS_NODEV;
  constexpr Mount kMounts[] = {
      {"proc", "proc", kSafe, nullptr},
      {"tmpfs", "dev", MS_NOSUID, "mode=755,size=65536k"},
      {"devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
      {"tmpfs", "dev/shm", kSafe, "mode=1777,size=65536k"},
      {"mqueue", "dev/mqueue", kSafe, nullptr},
      {"sysfs", "sys", kSafe | MS_RDONLY, nullptr},
  };
  for (const Mount& entry : kMounts) {
    if (std::string_view(entry.path).starts_with("dev/")) {
      Must(error_pipe, mkdir(entry.path, 0755), entry.path);
    }
    Must(error_pipe, mount(entry.type, entry.path, entry.type, entry.flags, entry.data),
         entry.path);
  }
}

void HidePathsInChild(int error_pipe) {
  for (const char* path : {"proc/kcore", "proc/keys", "proc/timer_list"}) {
    if (mount("dev/null", path, nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) {
      FailInChild(error_pipe, path);
    }
  }
  for (const char* path : {"proc/acpi", "proc/scsi", "sys/firmware"}) {
    if (mount("tmpfs", path, "tmpfs", MS_RDONLY, nullptr) != 0 && errno != ENOENT) {
      FailInChild(error_pipe, path);
    }
  }
  for (const char* path : {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"}) {
    if (mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) != 0) {
      if (errno == ENOENT) continue;
      FailInChild(error_pipe, path);
    }
    Must(error_pipe, mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr),
         path);
  }
}

void BringLoopbackUpInChild(int error_pipe) {
  int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  Must(error_pipe, socket_fd, "socket");
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  Must(error_pipe, ioctl(socket_fd, SIOCSIFFLAGS, &request), "lo up");
}

[[noreturn]] void RunInChild(const Round& round, int error_pipe) {
  Must(error_pipe, mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr), "propagation");
  Must(error_pipe, mount("overlay", round.root.c_str(), "overlay", 0, round.overlay.c_str()),
       "overlay");
  Must(error_pipe, chdir(round.root.c_str()), "chdir");
  MountDefaultsInChild(error_pipe);
  MakeDevicesInChild(error_pipe);
  HidePathsInChild(error_pipe);
  if (!round.host_network) {
    BringLoopbackUpInChild(error_pipe);
    Must(error_pipe, sethostname("floor", 5), "hostname");
  }
  Must(error_pipe, syscall(SYS_pivot_root, ".", "."), "pivot_root");
  Must(error_pipe, umount2(".", MNT_DETACH), "detach the old root");
  Must(error_pipe, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  std::string mark(kWorkloadMark);
  char* const arguments[] = {const_cast<char*>("/pause"), mark.data(), nullptr};
  char* const environment[] = {nullptr};
  execve("/pause", arguments, environment);
  FailInChild(error_pipe, "exec /pause");
}

// A child in new namespaces that has executed /pause.
Result<pid_t> Start(const Round& round) {
  ASSIGN_OR_RETURN(PipeEnds pipe, MakePipe());
  clone_args arguments{};
  arguments.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (!round.host_network) arguments.flags |= CLONE_NEWNET;
  arguments.exit_signal = SIGCHLD;
  auto pid = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof(arguments)));
  if (pid < 0) return ErrnoError("clone3");
  if (pid == 0) RunInChild(round, pipe.write.get());
  pipe.write.Reset();
  // exec closes the pipe; an error comes through it.
  ASSIGN_OR_RETURN(std::string error, ReadToEnd(pipe.read.get(), 4096));
  if (error.empty()) return pid;
  waitpid(pid, nullptr, 0);
  return Error(Code::kInternal, error);
}

Result<int64_t> OneRound(const std::string& layer, const std::string& scratch, bool host_network) {
  std::string name = StrCat("floor-", getpid());
  std::string base = StrCat(scratch, "/", name);
  int64_t begin = MonotonicNs();
  Round round;
  round.root = base + "/root";
  round.overlay = StrCat("lowerdir=", layer, ",upperdir=", base, "/upper,workdir=", base, "/work");
  round.host_network = host_network;
  for (const char* part : {"", "/root", "/upper", "/work"}) {
    RETURN_IF_ERROR(MakeDirs(StrCat(base, part), 0755));
  }
  Result<pid_t> pid = Start(round);
  int64_t end = MonotonicNs();
  if (pid.ok()) {
    kill(*pid, SIGKILL);
    waitpid(*pid, nullptr, 0);
  }
  ASSIGN_OR_RETURN(UniqueFd directory, Open(scratch, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(RemoveTreeAt(directory.get(), name));
  if (!pid.ok()) return std::move(pid).error();
  return end - begin;
}

int Main(int argc, char** argv) {
  auto count = argc == 5 ? ParseNumber<int>(argv[4]) : std::nullopt;
  if (!count) {
    fprintf(stderr, "usage: floor own|host LAYER SCRATCH COUNT\n");
    return EXIT_FAILURE;
  }
  for (int i = 0; i < *count; ++i) {
    Result<int64_t> ns = OneRound(argv[2], argv[3], std::string_view(argv[1]) == "host");
    if (!ns.ok()) {
      fprintf(stderr, "floor: %s\n", ns.error().message().c_str());
      return EXIT_FAILURE;
    }
    printf("%s\n", StrCat(*ns).c_str());
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  return berth::bench::Main(argc, argv);
}
