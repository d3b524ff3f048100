#include "shim/hooks.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/process.h"
#include "base/socket.h"
#include "shim/child.h"
#include "shim/json_text.h"
#include "shim/privileges_in_child.h"

namespace berth::shim {

namespace {

using wire::HookPlan;
using wire::HookPoint;

constexpr char kHooksReady[] = "hooks";
constexpr char kGo[] = "go";
constexpr int64_t kLaunchMarginMs = 5'000;
constexpr int64_t kKillWaitMs = 500;
constexpr size_t kMaxSaidBytes = 1024;
constexpr int kReadsAtOnce = 16;
constexpr int kReapTries = 50;
constexpr useconds_t kReapPauseUs = 10'000;
constexpr int kCannotExecute = 127;

// By the shim, in the host's namespaces.
bool IsOfHost(HookPoint point) {
  return point != HookPoint::kCreateContainer && point != HookPoint::kStartContainer;
}

std::string StateJson(const HookRun& run) {
  std::string json = R"({"ociVersion":"1.1.0","id":)";
  AppendJson(run.plan.id, json);
  json += R"(,"status":)";
  AppendJson(run.status, json);
  json += StrCat(R"(,"pid":)", run.pid, R"(,"bundle":)");
  AppendJson(run.plan.bundle, json);
  return json + R"(,"annotations":{}})";
}

struct HookFds {
  int in, out;
};

Status PrepareHookInChild(const HookRun& run, const HookFds& fds) {
  // Its own group, to be killed with; and not longer than whoever waits for it.
  if (setsid() < 0) return ErrnoError("setsid");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return ErrnoError("PR_SET_PDEATHSIG");
  if (IsOfHost(run.point)) RETURN_IF_ERROR(SetOomScoreInChild(0));
  umask(0022);
  const bool inside = run.point == HookPoint::kStartContainer;
  if (chdir(inside ? "/" : run.plan.bundle.c_str()) != 0) return ErrnoError("chdir");
  if (dup2(fds.in, 0) < 0 || dup2(fds.out, 1) < 0 || dup2(fds.out, 2) < 0) {
    return ErrnoError("dup2");
  }
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return ErrnoError("close_range");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  return run.rights != nullptr ? DropPrivilegesInChild(*run.rights) : Ok();
}

[[noreturn]] void BecomeHookInChild(const HookRun& run, const HookPlan& hook, const HookFds& fds) {
  const std::vector<std::string> own_name = {hook.path};
  const auto args = ExecPointers(hook.args.empty() ? own_name : hook.args);
  const auto env = ExecPointers(hook.env);
  Status ready = PrepareHookInChild(run, fds);
  if (ready.ok()) {
    execve(hook.path.c_str(), args.data(), env.data());
    ready = ErrnoError("cannot be executed");
  }
  (void)WriteAll(fds.out, ready.error().message());
  _exit(kCannotExecute);
}

// A hook that runs.
class RunningHook {
 public:
  static Result<RunningHook> Start(const HookRun& run, const HookPlan& hook) {
    ASSIGN_OR_RETURN(auto in, MakePipe());
    ASSIGN_OR_RETURN(auto out, MakePipe());
    if (fcntl(out.read.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError("fcntl");
    // Far less than what a pipe takes without a reader.
    RETURN_IF_ERROR(WriteAll(in.write.get(), StateJson(run)));
    RunningHook running;
    ASSIGN_OR_RETURN(running.pid_, Clone(0));
    if (running.pid_ == 0) BecomeHookInChild(run, hook, {in.read.get(), out.write.get()});
    running.out_ = std::move(out.read);
    running.pidfd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, running.pid_, 0)));
    if (running.pidfd_.ok()) return running;
    Error error = ErrnoError("pidfd_open");
    KillAndReap(running.pid_);
    return error;
  }

  // Its wait status. DeadlineExceeded: it runs on. Aborted: that of `other`, a pidfd, does not.
  Result<int> Wait(const Context& context, int other) {
    while (true) {
      std::vector<pollfd> fds = {
          {pidfd_.get(), POLLIN, 0}, {out_.get(), POLLIN, 0}, {other, POLLIN, 0}};
      RETURN_IF_ERROR(context.Poll(fds, -1, "wait"));
      if (fds[1].revents != 0) Read();
      if (fds[0].revents != 0) break;
      if (fds[2].revents != 0) return Error(Code::kAborted, "the container has ended meanwhile");
    }
    Read();
    return End();
  }

  // With its group, whose number is its own until it is reaped.
  Result<int> End() {
    kill(pid_, SIGKILL);  // should it have no group yet
    kill(-pid_, SIGKILL);
    const Context context = Context::WithTimeoutMs(kKillWaitMs);
    RETURN_IF_ERROR(context.Poll(pidfd_.get(), POLLIN, "kill"));
    int status = 0;
    if (waitpid(pid_, &status, 0) < 0) return ErrnoError("waitpid");
    ReapGroup();
    return status;
  }

  // The last of what it has said, on one line.
  std::string Said() const {
    std::string text(Trim(said_));
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.empty() ? "" : StrCat(": ", Printable(text, kMaxSaidBytes));
  }

 private:
  // Its orphans, should they have become this process's children: a container's process would have
  // children that it knows nothing of.
  void ReapGroup() const {
    for (int i = 0; i < kReapTries; ++i) {
      const pid_t reaped = waitpid(-pid_, nullptr, WNOHANG);
      if (reaped < 0) return;  // most have none
      if (reaped == 0) usleep(kReapPauseUs);
    }
  }
  void Read() {
    char buffer[4096];
    // Not until it is empty: whoever writes without a pause has a deadline, too.
    for (int i = 0; i < kReadsAtOnce && out_.ok(); ++i) {
      const ssize_t n = read(out_.get(), buffer, sizeof buffer);
      if (n == 0) out_.Reset();
      if (n <= 0) return;
      said_.append(buffer, static_cast<size_t>(n));
      if (said_.size() > kMaxSaidBytes) said_.erase(0, said_.size() - kMaxSaidBytes);
    }
  }

  pid_t pid_ = -1;
  UniqueFd pidfd_, out_;
  std::string said_;
};

Status RunOne(const Context& context, const HookRun& run, const HookPlan& hook) {
  const std::string what =
      StrCat(wire::kHookNames[static_cast<size_t>(hook.point)], " hook ", Printable(hook.path));
  ASSIGN_OR_RETURN(auto running, RunningHook::Start(run, hook), what);
  const Context limit =
      hook.timeout_s == 0 ? context : context.Timeout(int64_t{hook.timeout_s} * 1000);
  auto status = running.Wait(limit, run.pidfd);
  if (!status.ok()) {
    (void)running.End();
    const bool late = status.code() == Code::kDeadlineExceeded;
    const bool by_itself = late && hook.timeout_s != 0 && context.RemainingMs() > 0;
    return Error(status.code(), StrCat(what, ": killed: ",
                                       by_itself ? StrCat("it took longer than its timeout, ",
                                                          hook.timeout_s, " s")
                                       : late    ? "it took longer than a start may"
                                                 : status.error().message(),
                                       running.Said()));
  }
  if (*status == 0) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat(what, ": ",
                      WIFSIGNALED(*status) ? StrCat("signal ", WTERMSIG(*status))
                                           : StrCat("exit ", WEXITSTATUS(*status)),
                      running.Said()));
}

}  // namespace

bool HasHooks(const wire::HooksPlan& plan, HookPoint point) {
  return std::any_of(plan.list.begin(), plan.list.end(),
                     [point](const HookPlan& hook) { return hook.point == point; });
}

Status RunHooks(const Context& context, const HookRun& run) {
  for (const HookPlan& hook : run.plan.list) {
    if (hook.point == run.point) RETURN_IF_ERROR(RunOne(context, run, hook));
  }
  return Ok();
}

Status RunAllHooks(const Context& context, const HookRun& run) {
  Status last = Ok();
  for (const HookPlan& hook : run.plan.list) {
    if (hook.point != run.point) continue;
    Status status = RunOne(context, run, hook);
    if (!status.ok()) last = std::move(status);
  }
  return last;
}

Context HooksContext(const Context& launch) {
  return launch.Timeout(std::max<int64_t>(launch.RemainingMs() - kLaunchMarginMs, 0));
}

Status RunCreateHooksInChild(const Context& context, const wire::HooksPlan& plan, int socket,
                             pid_t pid) {
  if (HasHooks(plan, HookPoint::kPrestart) || HasHooks(plan, HookPoint::kCreateRuntime)) {
    RETURN_IF_ERROR(SendPacket(socket, kHooksReady));
    auto go = ReceivePacket(socket);
    if (!go.ok() || go->bytes != kGo) return Error(Code::kAborted, "the launch was given up");
  }
  return RunHooks(context, {plan, HookPoint::kCreateContainer, pid, "creating"});
}

Status ServeCreateHooks(const Context& context, const wire::HooksPlan& plan, int socket,
                        pid_t pid) {
  if (!HasHooks(plan, HookPoint::kPrestart) && !HasHooks(plan, HookPoint::kCreateRuntime)) {
    return Ok();
  }
  ASSIGN_OR_RETURN(auto packet, ReceivePacket(context, socket, kStuck));
  if (packet.bytes != kHooksReady) return ReportedError(packet.bytes);
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  for (HookPoint point : {HookPoint::kPrestart, HookPoint::kCreateRuntime}) {
    RETURN_IF_ERROR(RunHooks(context, {plan, point, pid, "creating", pidfd.get()}));
  }
  return SendPacket(socket, kGo);
}

}  // namespace berth::shim
