#include "runtime/systemd_bus.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/time.h"

namespace berth::runtime {

namespace {

constexpr char kPrivateSocket[] = "/run/systemd/private";
constexpr char kService[] = "org.freedesktop.systemd1";
constexpr char kManagerPath[] = "/org/freedesktop/systemd1";
constexpr char kManager[] = "org.freedesktop.systemd1.Manager";
// An answer that takes longer is none: process 1 hangs or is being replaced.
constexpr uint64_t kAnswerUs = 30'000'000;

Error BusError(int negative_errno, std::string_view what) {
  return ErrnoError(-negative_errno, StrCat("systemd: ", what)).WithCode(Code::kUnavailable);
}

Error FromReply(const sd_bus_error& error) {
  const std::string name = error.name == nullptr ? "" : error.name;
  const std::string text =
      StrCat("systemd: ", error.message == nullptr ? name : std::string(error.message));
  if (name == "org.freedesktop.systemd1.UnitExists") return {Code::kAlreadyExists, text};
  if (name == "org.freedesktop.systemd1.NoSuchUnit") return {Code::kNotFound, text};
  if (name == SD_BUS_ERROR_INVALID_ARGS || name == SD_BUS_ERROR_PROPERTY_READ_ONLY) {
    return {Code::kInvalidArgument, text};
  }
  // The connection's end, told to each call.
  if (name == SD_BUS_ERROR_NO_REPLY || name == SD_BUS_ERROR_DISCONNECTED ||
      name == SD_BUS_ERROR_TIMEOUT) {
    return {Code::kUnavailable, text};
  }
  return {Code::kInternal, text};
}

int AppendValue(sd_bus_message* message, bool value) {
  return sd_bus_message_append(message, "v", "b", static_cast<int>(value));
}
int AppendValue(sd_bus_message* message, uint64_t value) {
  return sd_bus_message_append(message, "v", "t", value);
}
int AppendValue(sd_bus_message* message, const std::string& value) {
  return sd_bus_message_append(message, "v", "s", value.c_str());
}
template <typename T>
int AppendValue(sd_bus_message* message, const std::vector<T>& values) {
  const char element = sizeof(T) == 1 ? 'y' : 'u';
  const char type[] = {'a', element, 0};
  int result = sd_bus_message_open_container(message, 'v', type);
  if (result >= 0) {
    result =
        sd_bus_message_append_array(message, element, values.data(), values.size() * sizeof(T));
  }
  return result < 0 ? result : sd_bus_message_close_container(message);
}

int AppendProperties(sd_bus_message* message, const UnitProperties& properties) {
  int result = sd_bus_message_open_container(message, 'a', "(sv)");
  for (const UnitProperty& property : properties) {
    if (result >= 0) result = sd_bus_message_open_container(message, 'r', "sv");
    if (result >= 0) result = sd_bus_message_append(message, "s", property.name.c_str());
    if (result >= 0) {
      result = std::visit([&](const auto& value) { return AppendValue(message, value); },
                          property.value);
    }
    if (result >= 0) result = sd_bus_message_close_container(message);
  }
  return result < 0 ? result : sd_bus_message_close_container(message);
}

struct MessageDeleter {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, MessageDeleter>;

void Signal(int event) {
  const uint64_t one = 1;
  // It can only fail if the counter is full, and then whoever waits wakes anyway.
  [[maybe_unused]] ssize_t written = write(event, &one, sizeof one);
}

}  // namespace

bool SystemdRuns() {
  return sd_booted() > 0 && access(kPrivateSocket, R_OK | W_OK) == 0;
}

struct SystemdBus::Call {
  std::string method;
  std::string unit;
  UnitProperties properties;
  UniqueFd done;  // eventfd
  Mutex mutex;
  Status result GUARDED_BY(mutex);
  SystemdBus* bus = nullptr;  // of the bus's thread
  std::string job;            // likewise
  bool has_job() const { return method != "SetUnitProperties"; }
};

// sd-bus wants plain functions; these may see what is private.
struct SystemdBus::Handlers {
  static int Reply(sd_bus_message* reply, void* data, sd_bus_error*) {
    Call* call = static_cast<Call*>(data);
    SystemdBus& bus = *call->bus;
    if (const sd_bus_error* error = sd_bus_message_get_error(reply)) {
      bus.Finish(call, FromReply(*error));
      return 0;
    }
    if (!call->has_job()) {
      bus.Finish(call, Ok());
      return 0;
    }
    const char* job = nullptr;
    if (int result = sd_bus_message_read(reply, "o", &job); result < 0) {
      bus.Finish(call, BusError(result, "a reply without a job"));
      return 0;
    }
    call->job = job;
    bus.jobs_[call->job] = call;
    return 0;
  }

  // JobRemoved(u id, o job, s unit, s result). It follows the reply that names the job.
  static int JobRemoved(sd_bus_message* signal, void* data, sd_bus_error*) {
    SystemdBus& bus = *static_cast<SystemdBus*>(data);
    uint32_t id = 0;
    const char *job = nullptr, *unit = nullptr, *outcome = nullptr;
    if (sd_bus_message_read(signal, "uoss", &id, &job, &unit, &outcome) < 0) return 0;
    auto found = bus.jobs_.find(job);
    if (found == bus.jobs_.end()) return 0;
    Status status;
    if (std::string_view(outcome) != "done") {
      status = Error(Code::kFailedPrecondition,
                     StrCat("systemd: the job ended as \"", outcome, "\" (see journalctl -u ",
                            found->second->unit, ")"));
    }
    bus.Finish(found->second, std::move(status));
    return 0;
  }
};

Result<std::unique_ptr<SystemdBus>> SystemdBus::Connect(const std::string& socket_path) {
  std::unique_ptr<SystemdBus> bus(
      new SystemdBus(socket_path.empty() ? kPrivateSocket : socket_path));
  bus->wake_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bus->wake_.ok()) return ErrnoError("eventfd");
  RETURN_IF_ERROR(bus->Open());
  bus->thread_ = std::thread([raw = bus.get()] { raw->Run(); });
  return bus;
}

SystemdBus::~SystemdBus() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  Signal(wake_.get());
  if (thread_.joinable()) thread_.join();
  Close({Code::kCancelled, "the daemon stops"});
}

Status SystemdBus::Start(const Context& context, const std::string& unit,
                         const UnitProperties& properties) {
  auto call = std::make_shared<Call>();
  call->method = "StartTransientUnit";
  call->unit = unit;
  call->properties = properties;
  return Make(context, call);
}

Status SystemdBus::SetProperties(const Context& context, const std::string& unit,
                                 const UnitProperties& properties) {
  auto call = std::make_shared<Call>();
  call->method = "SetUnitProperties";
  call->unit = unit;
  call->properties = properties;
  return Make(context, call);
}

Status SystemdBus::Stop(const Context& context, const std::string& unit) {
  auto call = std::make_shared<Call>();
  call->method = "StopUnit";
  call->unit = unit;
  Status status = Make(context, call);
  return status.code() == Code::kNotFound ? Ok() : status;
}

Status SystemdBus::Make(const Context& context, const std::shared_ptr<Call>& call) {
  call->done.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!call->done.ok()) return ErrnoError("eventfd");
  {
    MutexLock lock(mutex_);
    queue_.push_back(call);
  }
  Signal(wake_.get());
  RETURN_IF_ERROR(context.Poll(call->done.get(), POLLIN, "waiting for systemd"), "unit ",
                  call->unit);
  MutexLock lock(call->mutex);
  if (call->result.ok()) return Ok();
  return std::move(call->result).error().Wrap(StrCat("unit ", call->unit));
}

void SystemdBus::Run() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
    }
    SendQueued();
    int result = bus_ == nullptr ? 0 : sd_bus_process(bus_, nullptr);
    if (result < 0) {
      Close(BusError(result, "the connection was lost"));
      continue;
    }
    if (result == 0) Wait();
  }
}

void SystemdBus::Wait() {
  std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
  int timeout_ms = -1;
  if (bus_ != nullptr) {
    fds.push_back({sd_bus_get_fd(bus_), static_cast<short>(sd_bus_get_events(bus_)), 0});
    uint64_t until_us = 0;  // of the monotonic clock
    if (sd_bus_get_timeout(bus_, &until_us) >= 0 && until_us != UINT64_MAX) {
      const int64_t left_us = static_cast<int64_t>(until_us) - MonotonicNs() / 1000;
      timeout_ms = static_cast<int>(std::clamp<int64_t>(left_us / 1000 + 1, 0, 60'000));
    }
  }
  (void)poll(fds.data(), fds.size(), timeout_ms);
  uint64_t count = 0;
  [[maybe_unused]] ssize_t drained = read(wake_.get(), &count, sizeof count);
}

Status SystemdBus::Open() {
  sd_bus* bus = nullptr;
  int result = sd_bus_new(&bus);
  if (result < 0) return BusError(result, "sd_bus_new");
  bus_ = bus;
  result = sd_bus_set_address(bus, StrCat("unix:path=", socket_path_).c_str());
  if (result >= 0) result = sd_bus_start(bus);
  // Not a message bus: systemd sends its signals to every connection by itself.
  if (result >= 0) {
    result = sd_bus_match_signal(bus, nullptr, nullptr, kManagerPath, kManager, "JobRemoved",
                                 Handlers::JobRemoved, this);
  }
  if (result < 0) {
    Error error = BusError(result, StrCat("connect to ", socket_path_));
    Close(error);
    return error;
  }
  return Ok();
}

void SystemdBus::Close(const Error& why) {
  if (bus_ != nullptr) {
    sd_bus_close(bus_);
    bus_ = sd_bus_unref(bus_);
  }
  while (!under_way_.empty()) Finish(under_way_.begin()->first, why);
}

void SystemdBus::SendQueued() {
  std::deque<std::shared_ptr<Call>> queue;
  {
    MutexLock lock(mutex_);
    queue.swap(queue_);
  }
  for (const auto& call : queue) {
    under_way_[call.get()] = call;
    call->bus = this;
    Status sent = bus_ == nullptr ? Open() : Ok();
    if (sent.ok()) sent = Send(call);
    if (!sent.ok()) Finish(call.get(), std::move(sent));
  }
}

Status SystemdBus::Send(const std::shared_ptr<Call>& call) {
  sd_bus_message* raw = nullptr;
  int result = sd_bus_message_new_method_call(bus_, &raw, kService, kManagerPath, kManager,
                                              call->method.c_str());
  const Message message(raw);
  if (result >= 0) result = sd_bus_message_append(raw, "s", call->unit.c_str());
  if (call->method == "SetUnitProperties") {
    if (result >= 0) result = sd_bus_message_append(raw, "b", 1);  // at run time only
  } else if (result >= 0) {
    result = sd_bus_message_append(raw, "s", "replace");
  }
  if (call->method != "StopUnit" && result >= 0) result = AppendProperties(raw, call->properties);
  // No further units to go with it.
  if (call->method == "StartTransientUnit" && result >= 0) {
    result = sd_bus_message_append(raw, "a(sa(sv))", 0);
  }
  if (result >= 0) {
    result = sd_bus_call_async(bus_, nullptr, raw, Handlers::Reply, call.get(), kAnswerUs);
  }
  if (result < 0) return BusError(result, call->method);
  return Ok();
}

void SystemdBus::Finish(Call* call, Status status) {
  auto found = under_way_.find(call);
  if (found == under_way_.end()) return;
  const std::shared_ptr<Call> kept = std::move(found->second);
  under_way_.erase(found);
  if (!kept->job.empty()) jobs_.erase(kept->job);
  {
    MutexLock lock(kept->mutex);
    kept->result = std::move(status);
  }
  Signal(kept->done.get());
}

}  // namespace berth::runtime
