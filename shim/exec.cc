#include "shim/exec.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/time.h"
#include "shim/child.h"
#include "shim/launch.h"

namespace berth::shim {

namespace {

// What a file system may take to answer for the program and its working directory.
constexpr int64_t kStartTimeoutNs = 10'000'000'000;
// What a killed process may take to be gone. Freeing a large one's memory takes some of it; one in
// the D state, all.
constexpr int kKilledTimeoutMs = 100;

// A container may have filled its process limit's cgroup with names; one taken is one of ours that
// a left-behind process keeps busy.
Result<std::string> MakeExecCgroup(const std::string& parent, int number) {
  if (parent.empty()) return std::string();
  std::string path = StrCat(parent, "/exec-", number);
  if (mkdir(path.c_str(), 0755) != 0) return ErrnoError(StrCat("mkdir ", path));
  return path;
}

// False once no process is there.
bool KillOnce(const std::string& directory) {
  if (WriteFile(directory + "/cgroup.kill", "1").ok()) return false;
  auto procs = ReadFile(directory + "/cgroup.procs");
  if (!procs.ok()) return false;
  bool any = false;
  for (std::string_view line : Split(*procs, '\n')) {
    auto pid = ParseNumber<pid_t>(line);
    // 0 stands for a process of another PID namespace's ancestor: not one of the container's.
    if (!pid || *pid <= 1) continue;
    any = true;
    kill(*pid, SIGKILL);
  }
  return any;
}

}  // namespace

void KillCgroup(const std::string& directory) {
  for (int i = 0; i < 50; ++i) {
    bool any = KillOnce(directory);
    auto fd = Open(directory, O_RDONLY | O_DIRECTORY);
    if (fd.ok()) {
      (void)ForEachEntry(fd->get(), [&](const std::string& name) {
        if (name.starts_with("exec-")) any = KillOnce(StrCat(directory, "/", name)) || any;
        return Ok();
      });
    }
    if (!any) return;
    usleep(1000);
  }
}

Result<ExecProcess> StartExec(const wire::Exec& request, int state_dir, int init_pidfd, int number,
                              OciRuntime* runtime) {
  ASSIGN_OR_RETURN(auto plan, wire::ReadPlan(state_dir));
  wire::ProcessPlan& process = plan.process;
  process.args = request.args;
  process.env.insert(process.env.end(), request.env.begin(), request.env.end());
  process.terminal = request.terminal;

  ExecProcess exec;
  ASSIGN_OR_RETURN(exec.cgroup, MakeExecCgroup(plan.cgroup.exec_parent, number));
  ASSIGN_OR_RETURN(auto stdio, MakeStdio(request.terminal, request.in));
  auto launched = runtime != nullptr ? runtime->Exec(process, exec.cgroup, stdio.child, number)
                                     : LaunchExec({process, plan.cgroup, plan.user_namespace,
                                                   exec.cgroup, init_pidfd, stdio.child});
  if (!launched.ok()) {
    (void)RemoveExecCgroup(exec.cgroup);
    return std::move(launched).error();
  }
  exec.pid = launched->pid;
  exec.sync = std::move(launched->sync);
  exec.start_deadline_ns = MonotonicNs() + kStartTimeoutNs;
  if (request.terminal) {
    exec.streams.push_back(std::move(launched->terminal));
  } else {
    exec.streams.push_back(std::move(stdio.parent.out));
    exec.streams.push_back(std::move(stdio.parent.err));
    if (request.in) exec.streams.push_back(std::move(stdio.parent.in));
  }
  return exec;
}

Result<bool> AdvanceStart(ExecProcess& exec) {
  UniqueFd terminal;
  auto executed = ReadProgress(exec.sync.get(), terminal);
  if (terminal.ok()) exec.streams[0] = std::move(terminal);
  if (executed.ok() && !*executed) return false;
  exec.sync.Reset();
  if (!executed.ok()) kill(exec.pid, SIGKILL);
  return executed;
}

std::optional<Error> GiveUpLateStart(ExecProcess& exec) {
  if (!exec.sync.ok() || MonotonicNs() < exec.start_deadline_ns) return std::nullopt;
  exec.sync.Reset();
  KillExec(exec);
  return Error(Code::kDeadlineExceeded, StrCat(kStuck, ": deadline exceeded"), ETIMEDOUT);
}

void KillExec(const ExecProcess& exec) {
  kill(exec.pid, SIGKILL);  // our child, not yet reaped: the number is its own
  if (!exec.cgroup.empty()) KillCgroup(exec.cgroup);
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, exec.pid, 0)));
  pollfd end = {process.get(), POLLIN, 0};
  if (process.ok()) (void)poll(&end, 1, kKilledTimeoutMs);
}

bool RemoveExecCgroup(const std::string& cgroup) {
  return cgroup.empty() || rmdir(cgroup.c_str()) == 0 || errno != EBUSY;
}

}  // namespace berth::shim
