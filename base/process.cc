#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

namespace berth {

namespace {

// posix_spawn's attributes and file actions, freed together.
class SpawnSetup {
 public:
  SpawnSetup() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
  }
  ~SpawnSetup() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_t actions{};
};

}  // namespace

std::vector<char*> ExecPointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      leads_group_(other.leads_group_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    KillAndReap();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    leads_group_ = other.leads_group_;
  }
  return *this;
}

Child::~Child() {
  KillAndReap();
}

Result<int> Child::Wait(const Context& context) {
  RETURN_IF_ERROR(context.Poll(pidfd_.get(), POLLIN, "wait for process"));
  siginfo_t info{};
  if (waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED) != 0) {
    return ErrnoError("waitid");
  }
  pid_ = -1;
  pidfd_.Reset();
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

void Child::KillAndReap() {
  if (pid_ < 0) return;
  // Not yet reaped, so the number is still its own.
  kill(leads_group_ ? -pid_ : pid_, SIGKILL);
  (void)Wait(Context::Background());
}

pid_t Child::Release() {
  pidfd_.Reset();
  return std::exchange(pid_, -1);
}

Result<Child> Spawn(const SpawnOptions& options) {
  SpawnSetup setup;
  // Descriptors are first lifted above every target number, so that no dup2 overwrites a source.
  std::vector<UniqueFd> lifted;
  const int lowest = static_cast<int>(options.child_fds.size());
  for (int fd : options.child_fds) {
    UniqueFd copy(fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC)
                         : fcntl(fd, F_DUPFD_CLOEXEC, lowest));
    if (copy.ok() && copy.get() < lowest) {
      copy.Reset(fcntl(copy.get(), F_DUPFD_CLOEXEC, lowest));
    }
    if (!copy.ok()) return ErrnoError(StrCat("spawn ", options.path, ": dup"));
    lifted.push_back(std::move(copy));
  }
  for (int i = 0; i < lowest; ++i) {
    posix_spawn_file_actions_adddup2(&setup.actions, lifted[static_cast<size_t>(i)].get(), i);
  }
  posix_spawn_file_actions_addclosefrom_np(&setup.actions, lowest);

  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.new_session) flags |= POSIX_SPAWN_SETSID;
  // An exec resets handlers by itself; only what is ignored would stay so. A short set: each signal
  // in it costs the child a system call.
  sigset_t none;
  sigset_t ignored;
  sigemptyset(&none);
  sigemptyset(&ignored);
  for (int signal : {SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGTERM}) sigaddset(&ignored, signal);
  posix_spawnattr_setsigmask(&setup.attributes, &none);
  posix_spawnattr_setsigdefault(&setup.attributes, &ignored);
  posix_spawnattr_setflags(&setup.attributes, flags);

  auto args = ExecPointers(options.args);
  auto env = ExecPointers(options.env);
  pid_t pid = -1;
  int failed = posix_spawn(&pid, options.path.c_str(), &setup.actions, &setup.attributes,
                           args.data(), env.data());
  if (failed != 0) return ErrnoError(failed, StrCat("execute ", options.path));
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.ok()) {
    Error error = ErrnoError("pidfd_open");
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return error;
  }
  return Child(pid, std::move(pidfd), options.new_session);
}

Result<RunOutput> RunProgram(const Context& context, const SpawnOptions& options,
                             std::string_view input, size_t max_output_bytes) {
  ASSIGN_OR_RETURN(auto in, MakePipe());
  ASSIGN_OR_RETURN(auto out, MakePipe());
  ASSIGN_OR_RETURN(auto err, MakePipe());
  SpawnOptions with_pipes = options;
  with_pipes.child_fds.resize(std::max<size_t>(with_pipes.child_fds.size(), 3));
  with_pipes.child_fds[0] = in.read.get();
  with_pipes.child_fds[1] = out.write.get();
  with_pipes.child_fds[2] = err.write.get();
  ASSIGN_OR_RETURN(auto child, Spawn(with_pipes));
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();
  fcntl(in.write.get(), F_SETFL, O_NONBLOCK);

  RunOutput result;
  struct Stream {
    UniqueFd fd;
    std::string* text;
  };
  Stream streams[2] = {{std::move(out.read), &result.out}, {std::move(err.read), &result.err}};
  while (streams[0].fd.ok() || streams[1].fd.ok()) {
    RETURN_IF_ERROR(context.Check(StrCat("run ", options.path)));
    pollfd fds[3] = {{streams[0].fd.get(), POLLIN, 0},
                     {streams[1].fd.get(), POLLIN, 0},
                     {in.write.get(), POLLOUT, 0}};
    // A cancellation is noticed within the 100 ms; the ordinary end of the program at once.
    if (poll(fds, 3, std::min(context.RemainingMs(), 100)) < 0 && errno != EINTR) {
      return ErrnoError("poll");
    }
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents == 0 || !streams[i].fd.ok()) continue;
      char buffer[16384];
      ASSIGN_OR_RETURN(size_t n, ReadSome(streams[i].fd.get(), buffer, sizeof buffer));
      if (n == 0) streams[i].fd.Reset();
      std::string& text = *streams[i].text;
      text.append(buffer, std::min(n, max_output_bytes - text.size()));
    }
    if (fds[2].revents != 0 && in.write.ok()) {
      ssize_t n = write(in.write.get(), input.data(), input.size());
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      // A program that does not read its input is no fault of ours.
      if (input.empty() || (n < 0 && errno != EAGAIN && errno != EINTR)) in.write.Reset();
    }
  }
  ASSIGN_OR_RETURN(result.exit_code, child.Wait(context), "run ", options.path);
  return result;
}

Result<uint64_t> ProcessStartTime(pid_t pid) {
  ASSIGN_OR_RETURN(std::string stat, ReadFile(StrCat("/proc/", pid, "/stat")));
  // The name in field 2 may hold anything, blanks and parentheses too: count from the last ')'.
  size_t end = stat.rfind(')');
  if (end == std::string::npos) return Error(Code::kInternal, "unreadable /proc/PID/stat");
  auto fields = Split(std::string_view(stat).substr(end + 2), ' ');
  if (fields.size() > 19) {
    if (auto ticks = ParseNumber<uint64_t>(fields[19])) return *ticks;
  }
  return Error(Code::kInternal, "unreadable /proc/PID/stat");
}

}  // namespace berth
