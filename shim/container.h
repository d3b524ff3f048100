// One container's first process: from its launch to the durable record of its exit.
//
//   kNew --Launch--> kRunning --init reaped--> kDraining --output at its end--> kExited
//
// Draining comes first so that the last byte of output is in the log before anyone learns of the
// exit.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/attach.h"
#include "shim/children.h"
#include "shim/cri_log.h"
#include "shim/oci_runtime.h"
#include "shim/wire/messages.h"

namespace berth::shim {

class Container {
 public:
  enum class Phase { kNew, kRunning, kDraining, kExited };

  // Both are borrowed and outlive this.
  Container(int state_dir, Children& children) : state_dir_(state_dir), children_(children) {}

  // Reads the plan from the state directory and starts the process, with the hooks that come before
  // and after that. On failure the phase stays kNew, and the poststop hooks have run. `mounts`: the
  // root file system, then the plan's images.
  Status Launch(std::vector<UniqueFd> mounts);

  Phase phase() const { return phase_; }
  pid_t init_pid() const { return state_.pid; }
  int init_pidfd() const { return init_pidfd_.get(); }
  const wire::State& state() const { return state_; }

  // Output descriptors to wait for; -1 once at their end.
  int out_fd() const { return streams_[0].fd.get(); }
  int err_fd() const { return streams_[1].fd.get(); }
  // Moves what is there into the log.
  void ReadOutput(int fd);

  // The init process has been reaped.
  void OnInitExit(int wait_status, int64_t ended_at_ns);
  // Milliseconds until draining is given up, -1 outside of draining. Output held open by a process
  // beyond our reach must not keep the exit from being known.
  int DrainTimeoutMs() const;
  // Moves from kDraining to kExited when it is time, and writes the exit record. True if it did.
  bool FinishIfDrained();

  // Gives a client copies of the output and, if wanted and there, the stdin (Attachments::Add).
  Status Attach(int socket, const wire::Attach& wanted);
  Attachments& attachments() { return attachments_; }
  // Nobody will write to its stdin any more; with a terminal there is no such thing.
  void EndInput() { stdin_.Reset(); }

  // To be called once, after the end. What fails is said on stderr. Blocks, for 8 s at most: less
  // than a new daemon waits for its shims.
  void RunPoststopHooks() const;

  Status ReopenLog();
  Status Signal(int number);

  // Null unless an OCI runtime keeps the container.
  OciRuntime* oci_runtime() { return oci_runtime_ ? &*oci_runtime_ : nullptr; }

 private:
  struct Output {
    UniqueFd fd;
    CriLog::Stream log;
  };
  Status Start(const wire::LaunchPlan& plan, std::vector<UniqueFd> mounts);
  bool OutOfMemoryKilled() const;

  int state_dir_;
  Children& children_;
  Phase phase_ = Phase::kNew;
  wire::State state_;
  UniqueFd init_pidfd_;
  std::optional<OciRuntime> oci_runtime_;
  UniqueFd stdin_;  // the write end, kept so that a reading container does not see an end of file
  Output streams_[2] = {{UniqueFd(), CriLog::Stream("stdout")},
                        {UniqueFd(), CriLog::Stream("stderr")}};
  std::optional<CriLog> log_;
  Attachments attachments_;
  wire::HooksPlan poststop_;  // without hooks of other points
  bool terminal_ = false;
  int64_t drain_deadline_ns_ = 0;
  std::string oom_file_;
  std::string kill_directory_;  // empty if the kernel kills the others with the PID namespace
};

}  // namespace berth::shim
