#include "shim/container.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/time.h"
#include "shim/exec.h"
#include "shim/hooks.h"
#include "shim/launch.h"
#include "shim/stdio.h"

namespace berth::shim {

namespace {

constexpr int64_t kDrainNs = 5'000'000'000;
// Less than the daemon waits, so that it hears what hangs.
constexpr int64_t kLaunchTimeoutMs = 90'000;
constexpr int64_t kPoststopMs = 8'000;

bool OwnsPidNamespace(const wire::LaunchPlan& plan) {
  for (const wire::NamespacePlan& ns : plan.namespaces) {
    if (ns.flag == CLONE_NEWPID && ns.path.empty()) return true;
  }
  return false;
}

wire::HooksPlan PoststopOf(const wire::HooksPlan& hooks) {
  wire::HooksPlan poststop;
  for (const wire::HookPlan& hook : hooks.list) {
    if (hook.point == wire::HookPoint::kPoststop) poststop.list.push_back(hook);
  }
  if (poststop.list.empty()) return poststop;
  poststop.id = hooks.id;
  poststop.bundle = hooks.bundle;
  return poststop;
}

}  // namespace

Status Container::Launch(std::vector<UniqueFd> mounts) {
  {
    ASSIGN_OR_RETURN(auto plan, wire::ReadPlan(state_dir_));
    poststop_ = PoststopOf(plan.hooks);
    Status started = Start(plan, std::move(mounts));
    if (!started.ok()) {
      RunPoststopHooks();
      return started;
    }
  }
  malloc_trim(0);  // the plan's memory: idle shims are many
  return Ok();
}

Status Container::Start(const wire::LaunchPlan& plan, std::vector<UniqueFd> mounts) {
  const UniqueFd rootfs = std::move(mounts.front());
  mounts.erase(mounts.begin());
  const Context context = Context::WithTimeoutMs(kLaunchTimeoutMs);
  ASSIGN_OR_RETURN(auto log, CriLog::Open(plan.log));
  ASSIGN_OR_RETURN(auto stdio, MakeStdio(plan.process.terminal, plan.keep_stdin_open));
  if (!plan.oci_runtime.path.empty()) {
    oci_runtime_.emplace(plan.oci_runtime, state_dir_, children_);
  }
  auto launched = oci_runtime_
                      ? oci_runtime_->Launch(plan, rootfs.get(), mounts, stdio.child)
                      : LaunchInit(context, {plan, rootfs.get(), mounts, state_dir_, stdio.child});
  ASSIGN_OR_RETURN(auto process, std::move(launched));
  if (!process.pidfd.ok()) process.Identify();
  state_.started_at_ns = WallNs();
  Status hooks = RunHooks(HooksContext(context),
                          {plan.hooks, wire::HookPoint::kPoststart, process.pid, "running"});
  if (!hooks.ok()) {
    kill(process.pid, SIGKILL);  // what it has started goes with its cgroup
    return hooks;
  }
  state_.pid = process.pid;
  state_.start_time = process.start_time;
  init_pidfd_ = std::move(process.pidfd);
  log_ = std::move(log);
  stdin_ = std::move(stdio.parent.in);
  terminal_ = plan.process.terminal;
  streams_[0].fd =
      plan.process.terminal ? std::move(process.terminal) : std::move(stdio.parent.out);
  streams_[1].fd = std::move(stdio.parent.err);
  oom_file_ = plan.cgroup.oom_file;
  if (!OwnsPidNamespace(plan)) kill_directory_ = plan.cgroup.exec_parent;
  phase_ = Phase::kRunning;
  return Ok();
}

void Container::RunPoststopHooks() const {
  Status status = RunAllHooks(Context::WithTimeoutMs(kPoststopMs),
                              {poststop_, wire::HookPoint::kPoststop, 0, "stopped"});
  if (status.ok()) return;
  (void)WriteAll(
      2, StrCat("berth-shim: container ", poststop_.id, ": ", status.error().message(), "\n"));
}

void Container::ReadOutput(int fd) {
  static char buffer[16384];
  for (Output& output : streams_) {
    if (output.fd.get() != fd || fd < 0) continue;
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n > 0) {
      log_->Write(output.log, {buffer, static_cast<size_t>(n)});
      attachments_.Write(&output == &streams_[1], {buffer, static_cast<size_t>(n)});
      return;
    }
    // The end; a terminal without processes answers EIO.
    log_->Flush(output.log);
    output.fd.Reset();
  }
}

void Container::OnInitExit(int wait_status, int64_t ended_at_ns) {
  state_.exit.finished_at_ns = ended_at_ns;
  state_.exit.signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
  state_.exit.exit_code =
      WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
  if (!kill_directory_.empty()) KillCgroup(kill_directory_);
  stdin_.Reset();
  phase_ = Phase::kDraining;
  drain_deadline_ns_ = MonotonicNs() + kDrainNs;
}

int Container::DrainTimeoutMs() const {
  if (phase_ != Phase::kDraining) return -1;
  int64_t left = drain_deadline_ns_ - MonotonicNs();
  return left <= 0 ? 0 : static_cast<int>(left / 1'000'000 + 1);
}

bool Container::FinishIfDrained() {
  if (phase_ != Phase::kDraining) return false;
  const bool open = streams_[0].fd.ok() || streams_[1].fd.ok();
  if (open && MonotonicNs() < drain_deadline_ns_) return false;
  for (Output& output : streams_) {
    log_->Flush(output.log);
    output.fd.Reset();
  }
  state_.exit.oom_killed = OutOfMemoryKilled();
  state_.exited = true;
  // If the state directory is full or gone the exit still reaches the daemon over the socket.
  (void)AtomicWriteFileAt(state_dir_, wire::kExitName, wire::Encode(state_.exit), 0600);
  phase_ = Phase::kExited;
  return true;
}

bool Container::OutOfMemoryKilled() const {
  if (oom_file_.empty()) return false;
  auto text = ReadFile(oom_file_, 64 << 10);
  if (!text.ok()) return false;
  for (std::string_view line : Split(*text, '\n')) {
    constexpr std::string_view kKey = "oom_kill ";
    if (line.starts_with(kKey)) return line.substr(kKey.size()) != "0";
  }
  return false;
}

Status Container::Attach(int socket, const wire::Attach& wanted) {
  if (phase_ != Phase::kRunning) {
    return Error(Code::kFailedPrecondition, "container is not running");
  }
  const int in = terminal_ ? streams_[0].fd.get() : wanted.in ? stdin_.get() : -1;
  return attachments_.Add(socket, wanted, in, terminal_);
}

Status Container::ReopenLog() {
  if (!log_) return Error(Code::kFailedPrecondition, "container is not running");
  return log_->Reopen();
}

Status Container::Signal(int number) {
  if (phase_ != Phase::kRunning)
    return Error(Code::kFailedPrecondition, "container is not running");
  if (oci_runtime_) return oci_runtime_->Kill(number);
  // Our child and not yet reaped, so the pid is its own.
  if (kill(state_.pid, number) != 0) return ErrnoError(StrCat("send signal ", number));
  return Ok();
}

}  // namespace berth::shim
