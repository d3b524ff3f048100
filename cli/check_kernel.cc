// The kernel: its version, namespaces, seccomp, security modules, limits and clock.
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/strings.h"
#include "cli/check.h"

namespace berth::cli {

namespace {

constexpr int64_t kNeededPids = 32'768;
constexpr int64_t kNeededInotify = 512;
constexpr uint64_t kNeededFiles = 65'536;

std::string FirstLine(const std::string& path) {
  auto text = ReadFile(path, 1 << 16);
  return text.ok() ? std::string(Trim(text->substr(0, text->find('\n')))) : "";
}

// A sysctl's number, -1 if there is none.
int64_t Number(const std::string& path) {
  return ParseNumber<int64_t>(FirstLine(path)).value_or(-1);
}

bool IsAtLeast(std::string_view release, int major, int minor) {
  const auto parts = Split(release, '.');
  if (parts.size() < 2) return false;
  const int first = ParseNumber<int>(parts[0]).value_or(0);
  // "6.1-rc2"
  const std::string_view text = parts[1];
  const int second =
      ParseNumber<int>(text.substr(0, text.find_first_not_of("0123456789"))).value_or(0);
  return first > major || (first == major && second >= minor);
}

void CheckVersion(Findings& findings) {
  utsname name{};
  uname(&name);
  Finding finding{"kernel", Level::kOk, StrCat(name.release, " ", name.machine), ""};
  if (!IsAtLeast(name.release, 6, 1)) {
    finding.level = Level::kProblem;
    finding.advice = "Berth needs Linux 6.1 or later";
  } else if (!IsAtLeast(name.release, 6, 3)) {
    finding.level = Level::kWarning;
    finding.advice = "volumes in memory of pods with user namespaces need Linux 6.3";
  }
  findings.push_back(std::move(finding));
}

void CheckNamespaces(Findings& findings) {
  const int failed = Try([] {
    constexpr int kAll =
        CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP;
    return unshare(kAll) == 0 ? 0 : errno;
  });
  Finding finding{"namespaces", Level::kOk, "mount, network, IPC, UTS, PID and cgroup", ""};
  if (failed != 0) {
    finding.level = Level::kProblem;
    finding.found = StrCat("cannot be made: ", strerror(failed));
    finding.advice = failed == EPERM
                         ? "run this as root, outside of any container"
                         : "use a kernel with all kinds of namespaces; see /proc/sys/user/max_*";
  }
  findings.push_back(std::move(finding));

  const int user = Try([] { return unshare(CLONE_NEWUSER) == 0 ? 0 : errno; });
  Finding mapped{"user namespaces", Level::kOk,
                 StrCat("up to ", Number("/proc/sys/user/max_user_namespaces")), ""};
  if (user != 0) {
    mapped.level = Level::kWarning;
    mapped.found = StrCat("cannot be made: ", strerror(user));
    mapped.advice = "pods with hostUsers: false will fail; raise user.max_user_namespaces";
  }
  findings.push_back(std::move(mapped));
}

void CheckSeccomp(Findings& findings) {
  uint32_t action = SECCOMP_RET_ERRNO;
  Finding finding{"seccomp", Level::kOk, "filters", ""};
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
    finding = {"seccomp", Level::kProblem, StrCat("no filters: ", strerror(errno)),
               "use a kernel with CONFIG_SECCOMP_FILTER"};
  }
  findings.push_back(std::move(finding));
}

void CheckSecurityModules(Findings& findings) {
  const std::string modules = FirstLine("/sys/kernel/security/lsm");
  Finding finding{"security modules", Level::kOk, modules.empty() ? "none seen" : modules, ""};
  if (FirstLine("/sys/module/apparmor/parameters/enabled") == "Y") {
    auto profiles = ReadFile("/sys/kernel/security/apparmor/profiles", 4 << 20);
    if (!profiles.ok()) {
      finding.level = Level::kWarning;
      finding.advice =
          "AppArmor's profiles cannot be seen: mount securityfs on /sys/kernel/security";
    } else if (profiles->find("berth-default") == std::string::npos) {
      finding.level = Level::kWarning;
      finding.advice =
          "containers have no AppArmor profile: install the package apparmor, with which berthd "
          "loads one at its start";
    }
  }
  const bool has_selinux = access("/sys/fs/selinux/enforce", F_OK) == 0;
  if (has_selinux &&
      !WriteFile("/sys/fs/selinux/context", "system_u:system_r:container_t:s0").ok()) {
    finding.level = Level::kWarning;
    finding.advice =
        "containers have no SELinux label: load a policy that has container_t (container-selinux)";
  }
  findings.push_back(std::move(finding));
}

void CheckLimits(Findings& findings) {
  const int64_t pids = Number("/proc/sys/kernel/pid_max");
  findings.push_back({"kernel.pid_max", pids < kNeededPids ? Level::kWarning : Level::kOk,
                      StrCat(pids),
                      pids < kNeededPids ? "a full node runs out of process ids: raise it" : ""});
  const int64_t inotify = Number("/proc/sys/fs/inotify/max_user_instances");
  findings.push_back(
      {"fs.inotify.max_user_instances", inotify < kNeededInotify ? Level::kWarning : Level::kOk,
       StrCat(inotify),
       inotify < kNeededInotify
           ? StrCat("root's programs in all pods share them: raise it to ", kNeededInotify)
           : ""});
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const bool few = files.rlim_max < kNeededFiles;
  findings.push_back({"open files", few ? Level::kWarning : Level::kOk,
                      StrCat("hard limit ", files.rlim_max, " here"),
                      few ? "berthd.service sets its own; a daemon started by hand has this" : ""});
}

// Certificates and tokens have times.
void CheckClock(Findings& findings) {
  timex clock{};
  const int state = adjtimex(&clock);
  const bool synchronised = state >= 0 && (clock.status & STA_UNSYNC) == 0;
  findings.push_back({"clock", synchronised ? Level::kOk : Level::kWarning,
                      synchronised ? "synchronised" : "not synchronised",
                      synchronised ? "" : "run systemd-timesyncd, chrony or the like"});
}

}  // namespace

void CheckKernel(Findings& findings) {
  CheckVersion(findings);
  CheckNamespaces(findings);
  CheckSeccomp(findings);
  CheckSecurityModules(findings);
  CheckLimits(findings);
  CheckClock(findings);
}

}  // namespace berth::cli
