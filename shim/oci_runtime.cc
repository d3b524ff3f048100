#include "shim/oci_runtime.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "base/process.h"
#include "shim/json_text.h"
#include "shim/oci_mounts.h"

namespace berth::shim {

namespace {

constexpr char kLogName[] = "runtime.log";
constexpr char kInitPidName[] = "init.pid";
constexpr char kConsoleName[] = "console.sock";
constexpr size_t kMaxLogBytes = 256 << 10;
constexpr size_t kMaxProcessBytes = 4 << 20;
constexpr size_t kMaxSaidBytes = 1024;
// All of a launch, with what undoes it, is over before the daemon gives it up (120 s), and what a
// running container is asked for before a stop, which may wait behind it, does (5 s).
constexpr int64_t kCreateTimeoutMs = 60'000;
constexpr int64_t kCommandTimeoutMs = 20'000;
constexpr int64_t kRequestTimeoutMs = 3'500;
constexpr int64_t kKillWaitMs = 500;

// The value of "msg" in a line of a JSON log; the line itself if it is none.
std::string MessageOf(std::string_view line) {
  size_t at = line.find("\"msg\"");
  if (at != std::string_view::npos) at = line.find('"', at + 5);
  if (at == std::string_view::npos) return std::string(line);
  std::string message;
  for (++at; at < line.size() && line[at] != '"'; ++at) {
    if (line[at] == '\\' && at + 1 < line.size()) {
      ++at;
      message += line[at] == 'n' ? ' ' : line[at];
    } else {
      message += line[at];
    }
  }
  return message;
}

// runc's and crun's words for a hook that has failed.
bool IsOfHook(std::string_view said) {
  auto has = [&](std::string_view text) { return said.find(text) != std::string_view::npos; };
  return (has("error running ") && has("hook #")) || has("error executing hook");
}

// So that the caller can tell what a shell tells by 126 and 127: as a program that the shim itself
// cannot execute, InvalidArgument with the errno of its execve(2). The runtimes tell of such an
// errno, and of every other, in words only.
Error ErrorOf(std::string_view said, std::string message) {
  auto has = [&](std::string_view text) { return said.find(text) != std::string_view::npos; };
  int cause = 0;
  if (has("executable file") || has("no such file or directory") ||
      has("No such file or directory")) {
    cause = ENOENT;
  } else if (has("permission denied") || has("Permission denied")) {
    cause = EACCES;
  } else if (has("exec format error") || has("Exec format error")) {
    cause = ENOEXEC;
  }
  if (cause == 0) return {Code::kInternal, std::move(message)};
  // The working directory, which is none either, is not the program.
  return {Code::kInvalidArgument, std::move(message), has("chdir") ? 0 : cause};
}

// Where the runtime sends the master of a terminal that it has made (runtime-spec's console
// socket). The name is short whatever the state directory's is: an address has 107 bytes.
class ConsoleSocket {
 public:
  static Result<ConsoleSocket> Listen(int state_dir) {
    ConsoleSocket console;
    unlinkat(state_dir, kConsoleName, 0);
    console.path_ = StrCat("/proc/", getpid(), "/fd/", state_dir, "/", kConsoleName);
    console.listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (!console.listener_.ok() || console.path_.size() >= sizeof address.sun_path) {
      return ErrnoError("console socket");
    }
    memcpy(address.sun_path, console.path_.c_str(), console.path_.size() + 1);
    if (bind(console.listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(console.listener_.get(), 1) != 0) {
      return ErrnoError("console socket");
    }
    return console;
  }
  const std::string& path() const { return path_; }

  // The runtime has ended, so what it sent is there.
  Result<UniqueFd> Receive() const {
    UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer.ok()) return ErrnoError("console socket: the runtime has sent no terminal");
    char name[256];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec bytes{name, sizeof name};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(peer.get(), &message, MSG_CMSG_CLOEXEC) < 0) return ErrnoError("console socket");
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_type != SCM_RIGHTS) {
      return Error(Code::kInternal, "console socket: a message without a terminal");
    }
    int fd = -1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return UniqueFd(fd);
  }

 private:
  UniqueFd listener_;
  std::string path_;
};

}  // namespace

std::string OciRuntime::LastError() const {
  auto log = ReadFileAt(state_dir_, kLogName, kMaxLogBytes);
  std::string last;
  if (log.ok()) {
    for (std::string_view line : Split(*log, '\n')) {
      // The last one is the outermost and has all others in it.
      if (!Trim(line).empty()) last = MessageOf(line);
    }
  }
  return last;
}

// The end of it.
std::string OciRuntime::HooksSaid() const {
  auto log = OpenAt(state_dir_, wire::kOciHooksLogName, O_RDONLY | O_NOFOLLOW);
  if (!log.ok()) return "";
  const off_t size = lseek(log->get(), 0, SEEK_END);
  char buffer[kMaxSaidBytes];
  const off_t from = std::max<off_t>(size - static_cast<off_t>(sizeof buffer), 0);
  const ssize_t n = pread(log->get(), buffer, sizeof buffer, from);
  if (n <= 0) return "";
  std::string text(Trim({buffer, static_cast<size_t>(n)}));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return StrCat(": ", Printable(text, kMaxSaidBytes));
}

Status OciRuntime::Run(const std::vector<std::string>& command, const std::vector<int>& child_fds,
                       int64_t timeout_ms) const {
  unlinkat(state_dir_, kLogName, 0);
  SpawnOptions options;
  options.path = plan_.path;
  options.args = {plan_.path};
  options.args.insert(options.args.end(), plan_.arguments.begin(), plan_.arguments.end());
  const std::vector<std::string> common = {"--root",       plan_.directory + "/oci",
                                           "--log",        StrCat(plan_.directory, "/", kLogName),
                                           "--log-format", "json"};
  options.args.insert(options.args.end(), common.begin(), common.end());
  options.args.insert(options.args.end(), command.begin(), command.end());
  options.env = {kProgramsPath};
  options.child_fds = child_fds;
  options.new_session = true;
  const std::string what = StrCat(plan_.path, " ", command[0]);
  auto child = Spawn(options);
  // NotFound would be read as "no container".
  if (!child.ok()) return std::move(child).error().WithCode(Code::kFailedPrecondition);
  const pid_t pid = child->Release();
  auto status = children_.WaitFor(pid, timeout_ms);
  if (!status.ok()) {
    kill(-pid, SIGKILL);  // with what it has started
    // Should even that take long, it is reaped as any child.
    (void)children_.WaitFor(pid, kKillWaitMs);
    return std::move(status).error().Wrap(what);
  }
  if (*status == 0) return Ok();
  const std::string why = LastError();
  if (IsOfHook(why)) {
    return Error(Code::kFailedPrecondition,
                 StrCat(what, ": ", Printable(why, kMaxSaidBytes), HooksSaid()));
  }
  const std::string end = WIFEXITED(*status) ? StrCat("exit ", WEXITSTATUS(*status))
                                             : StrCat("killed by signal ", WTERMSIG(*status));
  return ErrorOf(why, StrCat(what, ": ", why.empty() ? end : Printable(why, kMaxSaidBytes)));
}

Result<Process> OciRuntime::RunDetached(std::vector<std::string> command,
                                        const std::string& pid_file, const ChildStdio& stdio,
                                        bool terminal, int64_t timeout_ms) const {
  std::vector<int> child_fds = {-1, -1, -1};
  ConsoleSocket console;
  if (terminal) {
    ASSIGN_OR_RETURN(console, ConsoleSocket::Listen(state_dir_));
    command.insert(command.end(), {"--console-socket", console.path()});
  } else {
    child_fds = {stdio.in.get(), stdio.out.get(), stdio.err.get()};
  }
  unlinkat(state_dir_, pid_file.c_str(), 0);
  command.insert(command.end(), {"--pid-file", StrCat(plan_.directory, "/", pid_file), plan_.id});
  RETURN_IF_ERROR(Run(command, child_fds, timeout_ms));
  Process process;
  if (terminal) {
    ASSIGN_OR_RETURN(process.terminal, console.Receive());
    unlinkat(state_dir_, kConsoleName, 0);
  }
  ASSIGN_OR_RETURN(std::string text, ReadFileAt(state_dir_, pid_file, 32));
  auto pid = ParseNumber<pid_t>(Trim(text));
  if (!pid || *pid <= 1) {
    return Error(Code::kInternal, StrCat(plan_.path, " ", command[0], ": wrote no pid"));
  }
  process.pid = *pid;
  return process;
}

Result<Process> OciRuntime::Launch(const wire::LaunchPlan& plan, int rootfs,
                                   std::vector<UniqueFd>& images, const ChildStdio& stdio) {
  RETURN_IF_ERROR(MountForOciRuntime(plan, plan_.directory, state_dir_, rootfs, images));
  auto launch = [&]() -> Result<Process> {
    ASSIGN_OR_RETURN(Process process,
                     RunDetached({"create", "--bundle", plan_.directory}, kInitPidName, stdio,
                                 plan.process.terminal, kCreateTimeoutMs));
    process.Identify();  // by the end of `start` it may have ended, and been reaped
    RETURN_IF_ERROR(Run({"start", plan_.id}, {-1, -1, -1}, kCommandTimeoutMs));
    return process;
  };
  auto process = launch();
  if (!process.ok()) Delete();
  return process;
}

Result<Process> OciRuntime::Exec(const wire::ProcessPlan& process, const std::string& exec_cgroup,
                                 const ChildStdio& stdio, int number) {
  ASSIGN_OR_RETURN(std::string common,
                   ReadFileAt(state_dir_, wire::kOciProcessName, kMaxProcessBytes));
  std::string json = StrCat("{\"terminal\":", process.terminal, ",\"args\":");
  AppendJson(process.args, json);
  json += ",\"env\":";
  AppendJson(process.env, json);
  json += StrCat(",", std::string_view(common).substr(1));

  const std::string file = StrCat("exec-", number, ".json");
  const std::string pid_file = StrCat("exec-", number, ".pid");
  RETURN_IF_ERROR(AtomicWriteFileAt(state_dir_, file, json, 0600));
  auto started = RunDetached({"exec", "--detach", "--process", StrCat(plan_.directory, "/", file)},
                             pid_file, stdio, process.terminal, kRequestTimeoutMs);
  unlinkat(state_dir_, file.c_str(), 0);
  unlinkat(state_dir_, pid_file.c_str(), 0);
  if (started.ok() && !exec_cgroup.empty()) {
    // What it has started by now stays in the container's own cgroup, and ends with that.
    (void)WriteFile(exec_cgroup + "/cgroup.procs", StrCat(started->pid));
  }
  return started;
}

Status OciRuntime::Kill(int signal) {
  return Run({"kill", plan_.id, StrCat(signal)}, {-1, -1, -1}, kRequestTimeoutMs);
}

void OciRuntime::Delete() {
  (void)Run({"delete", "--force", plan_.id}, {-1, -1, -1}, kCommandTimeoutMs);
}

}  // namespace berth::shim
