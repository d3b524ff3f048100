#include "daemon/service.h"

#include <glog/logging.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>

#include "base/time.h"
#include "daemon/logging.h"
#include "daemon/watchdog.h"

namespace berth::daemon {

namespace {

// One line of "NAME=value" each. Status texts have no line ends: Printable() sees to that.
void Notify(const std::string& lines) {
  sd_notify(0, lines.c_str());
}

std::string StatusLine(std::string_view text) {
  return StrCat("STATUS=", Printable(text, 512));
}

std::string ShownOr(const std::string& value, const char* nothing) {
  return value.empty() ? nothing : Printable(value);
}

}  // namespace

ServiceManager::ServiceManager(std::string socket) : socket_(std::move(socket)) {
  sigemptyset(&signals_);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, number);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  uint64_t watchdog_us = 0;
  if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
    watchdog_ms_ = std::max<int64_t>(static_cast<int64_t>(watchdog_us / 1000), 1);
  }
}

void ServiceManager::Starting() {
  Notify(StatusLine("finding again what runs on this node"));
}

void ServiceManager::Failed(const Error& error) {
  Notify(StrCat(StatusLine("cannot start: " + error.message()), "\nERRNO=", error.sys_errno()));
}

void ServiceManager::Ready() {
  Notify(StrCat("READY=1\nMAINPID=", getpid(), "\n", StatusLine("serves " + socket_)));
}

int ServiceManager::Serve(Daemon& daemon, const std::function<Result<config::Config>()>& load) {
  // Four checks in the time after which the service manager acts, so that a slow one is forgiven.
  const int64_t interval_ms = watchdog_ms_ / 4;
  int64_t next_check_ns = MonotonicNs();
  while (true) {
    int number = 0;
    if (watchdog_ms_ == 0) {
      if (sigwait(&signals_, &number) != 0) continue;
    } else {
      const int64_t left_ns = std::max<int64_t>(next_check_ns - MonotonicNs(), 0);
      const timespec left{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
      number = sigtimedwait(&signals_, nullptr, &left);
      if (number < 0 && errno == EAGAIN) {
        FeedWatchdog(daemon);
        next_check_ns = MonotonicNs() + interval_ms * 1'000'000;
      }
    }
    if (number == SIGHUP) Reload(daemon, load);
    if (number == SIGTERM || number == SIGINT) {
      Notify(StrCat("STOPPING=1\n", StatusLine("ending calls; containers run on")));
      return number;
    }
  }
}

void ServiceManager::FeedWatchdog(Daemon& daemon) {
  constexpr int64_t kMaxTimeoutMs = 5'000;  // a signal waits for as long
  const Status alive =
      CheckAlive(daemon.loop(), socket_, std::min(watchdog_ms_ / 8, kMaxTimeoutMs));
  if (alive.ok()) {
    if (starving_) LOG(WARNING) << "watchdog: the daemon answers again";
    Notify(starving_ ? StrCat("WATCHDOG=1\n", StatusLine("serves " + socket_)) : "WATCHDOG=1");
  } else {
    LOG(ERROR) << "watchdog: " << alive.error().message();
    Notify(StatusLine("hangs: " + alive.error().message()));
  }
  starving_ = !alive.ok();
}

void ServiceManager::Reload(Daemon& daemon, const std::function<Result<config::Config>()>& load) {
  // systemd.service(5), "notify-reload"
  Notify(StrCat("RELOADING=1\nMONOTONIC_USEC=", MonotonicNs() / 1000, "\n",
                StatusLine("reading the configuration again")));
  auto config = load();
  if (!config.ok()) {
    LOG(ERROR) << "reload: " << config.error().message() << "; the former configuration stays";
    Notify(StrCat("READY=1\n", StatusLine(StrCat("serves ", socket_, "; configuration refused: ",
                                                 config.error().message()))));
    return;
  }
  // What a reload does is told whatever the level.
  SetLogLevel(google::GLOG_INFO);
  size_t waiting = 0;
  const auto changes = daemon.Reload(*config);
  for (const config::Change& change : changes) {
    const std::string what =
        StrCat("reload: ", Printable(change.key), ": ", ShownOr(change.before, "not there"), " -> ",
               ShownOr(change.after, "not there"));
    if (change.is_live) {
      LOG(INFO) << what;
    } else {
      ++waiting;
      LOG(WARNING) << what << ": needs a restart of berthd";
    }
  }
  if (changes.empty()) LOG(INFO) << "reload: nothing has changed";
  SetLogLevel(config->log_level);
  std::string status = StrCat("serves ", socket_);
  if (waiting > 0) status += StrCat("; ", waiting, " changed keys need a restart");
  Notify(StrCat("READY=1\n", StatusLine(status)));
}

}  // namespace berth::daemon
