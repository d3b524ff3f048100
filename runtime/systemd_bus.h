// The conversation with systemd: one connection to process 1 for the daemon's whole life.
//
//   any thread        Start, SetProperties, Stop ──▶ queue ──▶ the bus's thread ──▶ systemd
//                     wait for the call's eventfd  ◀── reply, JobRemoved  ◀──────────┘
//
// It goes to systemd's own socket, not through the message bus: that may be restarted or gone
// without a pod noticing, and one process less is in the way of a start. Calls of many threads are
// under way at once. When systemd closes the connection (daemon-reexec does), the calls under way
// fail as Unavailable and the next one connects anew.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"
#include "runtime/systemd_unit.h"

struct sd_bus;
struct sd_bus_message;

namespace berth::runtime {

// Whether this machine's process 1 is systemd (sd_booted(3)) and its socket is there.
bool SystemdRuns();

// Thread-safe. Calls block until systemd has answered and, where there is one, the job has ended,
// or until the context's end; then the call goes on in systemd. Errors name the unit.
class SystemdBus {
 public:
  // Connects; Unavailable names the socket.
  static Result<std::unique_ptr<SystemdBus>> Connect(const std::string& socket_path = "");
  ~SystemdBus();
  SystemdBus(const SystemdBus&) = delete;
  SystemdBus& operator=(const SystemdBus&) = delete;

  // StartTransientUnit. AlreadyExists if a unit of that name is loaded.
  Status Start(const Context& context, const std::string& unit, const UnitProperties& properties);
  // For the unit's life only, not for ever. NotFound if it is not loaded.
  Status SetProperties(const Context& context, const std::string& unit,
                       const UnitProperties& properties);
  // Ok if it is not loaded, or has failed.
  Status Stop(const Context& context, const std::string& unit);

 private:
  struct Call;
  struct Handlers;  // sd-bus's callbacks

  explicit SystemdBus(std::string socket_path) : socket_path_(std::move(socket_path)) {}

  Status Make(const Context& context, const std::shared_ptr<Call>& call);
  // The rest runs on the bus's thread.
  void Run();
  void Wait();
  Status Open();
  void Close(const Error& why);
  void SendQueued() EXCLUDES(mutex_);
  Status Send(const std::shared_ptr<Call>& call);
  void Finish(Call* call, Status status);

  const std::string socket_path_;
  UniqueFd wake_;  // eventfd
  Mutex mutex_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::deque<std::shared_ptr<Call>> queue_ GUARDED_BY(mutex_);
  std::thread thread_;

  // Of the bus's thread alone.
  sd_bus* bus_ = nullptr;
  std::map<Call*, std::shared_ptr<Call>> under_way_;
  std::map<std::string, Call*> jobs_;  // by object path
};

}  // namespace berth::runtime
