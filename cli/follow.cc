#include "cli/follow.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/strings.h"

namespace berth::cli {
namespace {

// How often the log and the state are looked at: soon at first, since most commands are short.
constexpr int kFirstPauseMs = 5;
constexpr int kLastPauseMs = 200;
constexpr int64_t kStopTimeoutS = 10;

Result<rt::ContainerStatus> StatusOf(Client& client, const std::string& container_id) {
  rt::ContainerStatusRequest request;
  request.set_container_id(container_id);
  ASSIGN_OR_RETURN(auto response, client.Call(request), "ask for the state of ", container_id);
  return std::move(*response.mutable_status());
}

// Stops a container from threads of its own, so that its output is still read meanwhile.
class Stopper {
 public:
  Stopper(Client& client, std::string container_id)
      : client_(client), container_id_(std::move(container_id)) {}
  ~Stopper() {
    for (std::thread& thread : threads_) thread.join();
  }
  Stopper(const Stopper&) = delete;
  Stopper& operator=(const Stopper&) = delete;

  void Stop() {
    rt::StopContainerRequest request;
    request.set_container_id(container_id_);
    request.set_timeout(threads_.empty() ? kStopTimeoutS : 0);
    // A failure shows: the container runs on.
    threads_.emplace_back([this, request] { (void)client_.Call(request); });
  }

 private:
  Client& client_;
  std::string container_id_;
  std::vector<std::thread> threads_;
};

// True if a signal came within the time.
bool WaitForSignal(int signals, int timeout_ms) {
  pollfd wait = {signals, POLLIN, 0};
  if (poll(&wait, 1, timeout_ms) != 1) return false;
  uint64_t count = 0;
  return read(signals, &count, sizeof(count)) == sizeof(count);
}

}  // namespace

Status PrintNew(LogReader& reader) {
  while (true) {
    ASSIGN_OR_RETURN(const LogOutput output, reader.Read());
    if (output.out.empty() && output.err.empty()) return Ok();
    RETURN_IF_ERROR(WriteAll(STDOUT_FILENO, output.out), "write to standard output");
    RETURN_IF_ERROR(WriteAll(STDERR_FILENO, output.err), "write to standard error");
  }
}

Result<rt::ContainerStatus> FollowUntilExit(Client& client, const std::string& container_id,
                                            LogOptions options, int stop_signals) {
  Stopper stopper(client, container_id);
  ASSIGN_OR_RETURN(rt::ContainerStatus status, StatusOf(client, container_id));
  LogReader reader(status.log_path(), options);
  int pause_ms = kFirstPauseMs;
  while (status.state() == rt::CONTAINER_RUNNING) {
    RETURN_IF_ERROR(PrintNew(reader));
    if (WaitForSignal(stop_signals, pause_ms)) stopper.Stop();
    pause_ms = std::min(pause_ms * 2, kLastPauseMs);
    ASSIGN_OR_RETURN(status, StatusOf(client, container_id));
  }
  // An exit is published after the last byte of output is in the file.
  RETURN_IF_ERROR(PrintNew(reader));
  return status;
}

}  // namespace berth::cli
