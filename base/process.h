// Starting and ending other programs from a process with many threads. Nothing of ours runs between
// fork and exec: posix_spawn does both.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"

namespace berth {

// The environment's PATH for a program of the host that executes others itself.
inline constexpr char kProgramsPath[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct SpawnOptions {
  std::vector<std::string> args;  // args[0] is the name that the program sees
  std::vector<std::string> env;   // the whole environment: nothing is inherited
  std::string path;               // what is executed; not searched in PATH
  // child_fds[i] becomes descriptor i of the child; -1 opens /dev/null there. All others close.
  std::vector<int> child_fds;
  // Its own session and process group; killing it then kills the whole group.
  bool new_session = false;
};

// A child process. The destructor kills and reaps it unless it was waited for or released.
class Child {
 public:
  Child() = default;
  Child(pid_t pid, UniqueFd pidfd, bool leads_group = false)
      : pid_(pid), pidfd_(std::move(pidfd)), leads_group_(leads_group) {}
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  // The exit code, or 128 + signal. DeadlineExceeded or Cancelled leave it running.
  Result<int> Wait(const Context& context);
  // SIGKILL, then wait.
  void KillAndReap();
  // It lives on and somebody else waits for it.
  pid_t Release();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  bool leads_group_ = false;
};

Result<Child> Spawn(const SpawnOptions& options);

struct RunOutput {
  int exit_code = 0;  // 128 + signal if killed
  std::string out;
  std::string err;
};
// Runs a program to its end with `input` on its stdin, and kills it at the context's end. Output is
// cut at `max_output_bytes` a stream (the rest is read and dropped). The options' child_fds count
// from 3 on.
Result<RunOutput> RunProgram(const Context& context, const SpawnOptions& options,
                             std::string_view input, size_t max_output_bytes = 1 << 20);

// What execve(2) wants: pointers into the strings, which must outlive them, and a null at the end.
std::vector<char*> ExecPointers(const std::vector<std::string>& strings);

// Field 22 of /proc/PID/stat: with the pid it names one process for the whole uptime (proc(5)).
Result<uint64_t> ProcessStartTime(pid_t pid);

}  // namespace berth
