// The daemon's conversation with the service manager: signals from it, sd_notify(3) to it.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "config/config.h"
#include "daemon/daemon.h"

namespace berth::daemon {

// Without a service manager the notifications go nowhere, and all else is the same.
//
//   Starting ──▶ Ready ──SIGHUP──▶ reloading ──▶ ready
//                  └──SIGTERM, SIGINT──▶ stopping
class ServiceManager {
 public:
  // Blocks the signals that Serve() waits for, so it must be made before any thread is. `socket` is
  // where CRI is served.
  explicit ServiceManager(std::string socket);

  void Starting();
  void Failed(const Error& error);
  // Connections are accepted.
  void Ready();

  // Returns the signal that ends the daemon. Meanwhile it reloads the configuration on SIGHUP: one
  // that `load` refuses changes nothing; what has changed, and what needs a restart, is logged.
  // And if there is a watchdog, it is fed as long as CheckAlive (daemon/watchdog.h) says so.
  int Serve(Daemon& daemon, const std::function<Result<config::Config>()>& load);

 private:
  void Reload(Daemon& daemon, const std::function<Result<config::Config>()>& load);
  void FeedWatchdog(Daemon& daemon);

  const std::string socket_;
  sigset_t signals_{};
  int64_t watchdog_ms_ = 0;  // 0: none
  bool starving_ = false;    // the last check failed
};

}  // namespace berth::daemon
