#include "runtime/cni.h"

#include <unistd.h>

#include <utility>

#include "runtime/cni_args.h"
#include "runtime/cni_cache.h"
#include "runtime/cni_config.h"
#include "runtime/cni_plugin.h"
#include "runtime/cni_watcher.h"

namespace berth::runtime {

namespace {

// stdin of one plugin (CNI spec, section 3, "Deriving execution configuration").
Json ExecutionConfig(const CniRecord& record, const Json& plugin, const Json& previous) {
  Json config = plugin;
  config["name"] = record.network.name;
  config["cniVersion"] = record.network.version;
  Json declared = config.value("capabilities", Json::object());
  config.erase("capabilities");
  Json runtime_config = Json::object();
  for (const auto& [name, on] : declared.items()) {
    if (on == true && record.capabilities.contains(name)) {
      runtime_config[name] = record.capabilities[name];
    }
  }
  if (!runtime_config.empty()) config["runtimeConfig"] = std::move(runtime_config);
  if (!previous.is_null()) config["prevResult"] = previous;
  return config;
}

// These two only pass the previous result on when the pod asks nothing of them, and their DEL and
// CHECK have nothing to look after then: their execution, 8 ms each, is saved.
bool HasNothingToDo(const Json& config) {
  const Json wanted = config.value("runtimeConfig", Json::object());
  if (config["type"] == "portmap") return !wanted.contains("portMappings");
  if (config["type"] == "bandwidth") {
    return !wanted.contains("bandwidth") && !config.contains("ingressRate") &&
           !config.contains("egressRate");
  }
  return false;
}

// The namespace may be gone by the time of a DEL, after a reboot for one: CNI wants no path then.
std::string NetnsIfThere(const std::string& path) {
  return access(path.c_str(), F_OK) == 0 ? path : "";
}

Status CheckPod(const CniPod& pod) {
  if (!IsCniName(pod.id)) {
    return Error(Code::kInvalidArgument,
                 StrCat("pod id \"", Printable(pod.id, 80), "\" is not a plain name"));
  }
  return Ok();
}

}  // namespace

struct Cni::State {
  State(CniOptions given, CniCache opened, EventLoop& the_loop)
      : cache(std::move(opened)),
        loop(the_loop),
        options(std::move(given)),
        watcher(CniWatcher::Start(options.conf_dir, loop)) {}
  ~State() { Watcher()->Stop(); }

  CniCall Call(const char* command, const std::string& pod_id, const CniRecord& record) const
      EXCLUDES(mutex) {
    MutexLock lock(mutex);
    return {command, pod_id, record.netns, record.args, options.bin_dirs, options.timeout_ms};
  }
  std::shared_ptr<CniWatcher> Watcher() const EXCLUDES(mutex) {
    MutexLock lock(mutex);
    return watcher;
  }
  Status AddAll(const Context& context, const std::string& pod_id, CniRecord& record,
                size_t& tried) const;
  Status DelAll(const Context& context, const std::string& pod_id, const CniRecord& record,
                size_t count) const;
  Result<CniRecord> NewRecord(const CniPod& pod) const;

  const CniCache cache;
  EventLoop& loop;
  mutable Mutex mutex;
  CniOptions options GUARDED_BY(mutex);
  std::shared_ptr<CniWatcher> watcher GUARDED_BY(mutex);
};

// Runs the plugins in order; `tried` is the number of those that may have done something.
Status Cni::State::AddAll(const Context& context, const std::string& pod_id, CniRecord& record,
                          size_t& tried) const {
  Json result;
  for (const Json& plugin : record.network.plugins) {
    Json config = ExecutionConfig(record, plugin, result);
    if (!HasNothingToDo(config)) {
      auto output = RunCniPlugin(context, Call("ADD", pod_id, record), config);
      bool executed = output.ok() || output.code() != Code::kFailedPrecondition;
      if (executed) ++tried;
      if (!output.ok()) return std::move(output).error();
      ASSIGN_OR_RETURN(result, ParseJson(*output), "plugin ", plugin.value("type", ""), ": result");
    } else {
      ++tried;
    }
  }
  record.result = std::move(result);
  return Ok();
}

// Runs DEL of the first `count` plugins, last one first. It goes on past a failure: each releases
// what it holds, and none depends on the one after it.
Status Cni::State::DelAll(const Context& context, const std::string& pod_id,
                          const CniRecord& record, size_t count) const {
  Status first;
  CniCall call = Call("DEL", pod_id, record);
  call.netns = NetnsIfThere(record.netns);
  const Json previous = HasCniCheck(record.network.version) ? record.result : Json();
  for (size_t i = count; i-- > 0;) {
    Json config = ExecutionConfig(record, record.network.plugins[i], previous);
    if (HasNothingToDo(config)) continue;
    auto output = RunCniPlugin(context, call, config);
    if (!output.ok() && first.ok()) first = std::move(output).error();
  }
  return first;
}

Result<CniRecord> Cni::State::NewRecord(const CniPod& pod) const {
  CniRecord record;
  ASSIGN_OR_RETURN(auto network, Watcher()->Current());
  record.network = *network;
  ASSIGN_OR_RETURN(record.capabilities, CniCapabilities(pod));
  ASSIGN_OR_RETURN(record.args, CniArgs(pod));
  record.netns = pod.netns_path;
  return record;
}

Cni::Cni(std::unique_ptr<State> state) : state_(std::move(state)) {}
Cni::~Cni() = default;

Result<std::unique_ptr<Cni>> Cni::Open(CniOptions options, EventLoop& loop) {
  ASSIGN_OR_RETURN(CniCache cache, CniCache::Open(options.cache_dir), "CNI cache");
  return std::unique_ptr<Cni>(
      new Cni(std::make_unique<State>(std::move(options), std::move(cache), loop)));
}

void Cni::Reconfigure(const CniOptions& options) {
  std::shared_ptr<CniWatcher> former;
  {
    MutexLock lock(state_->mutex);
    state_->options.bin_dirs = options.bin_dirs;
    state_->options.timeout_ms = options.timeout_ms;
    if (options.conf_dir == state_->options.conf_dir) return;
    state_->options.conf_dir = options.conf_dir;
    former = std::exchange(state_->watcher, CniWatcher::Start(options.conf_dir, state_->loop));
  }
  former->Stop();
}

Status Cni::Ready() {
  RETURN_IF_ERROR(state_->Watcher()->Current());
  return Ok();
}

std::string Cni::ConfigJson() {
  auto network = state_->Watcher()->Current();
  return network.ok() ? ToText(CniNetworkJson(**network)) : "";
}

Result<CniResult> Cni::Add(const Context& context, const CniPod& pod) {
  RETURN_IF_ERROR(CheckPod(pod));
  ASSIGN_OR_RETURN(CniRecord record, state_->NewRecord(pod));
  // The intent, before the first effect.
  RETURN_IF_ERROR(state_->cache.Write(pod.id, record));
  size_t tried = 0;
  CniResult added;
  auto add = [&]() -> Status {
    RETURN_IF_ERROR(state_->AddAll(context, pod.id, record, tried));
    ASSIGN_OR_RETURN(added.ips, CniResultIps(record.result));
    return state_->cache.Write(pod.id, record);
  };
  Status status = add();
  if (status.ok()) {
    added.json = ToText(record.result);
    return added;
  }
  Status undone = state_->DelAll(Context::ForUndo(), pod.id, record, tried);
  if (undone.ok()) undone = state_->cache.Remove(pod.id);
  // What could not be undone keeps its record, for Del to try again.
  if (undone.ok()) return std::move(status).error();
  return Error(status.code(),
               StrCat(status.error().message(), " (undo: ", undone.error().message(), ")"));
}

Status Cni::Del(const Context& context, const CniPod& pod) {
  RETURN_IF_ERROR(CheckPod(pod));
  auto record = state_->cache.Read(pod.id);
  if (!record.ok() && record.code() == Code::kNotFound) return Ok();  // never added, or deleted
  // A damaged record still says that there was an ADD: today's configuration is the best guess.
  if (!record.ok() && record.code() == Code::kDataLoss) record = state_->NewRecord(pod);
  if (!record.ok()) return std::move(record).error();
  RETURN_IF_ERROR(state_->DelAll(context, pod.id, *record, record->network.plugins.size()));
  return state_->cache.Remove(pod.id);
}

Status Cni::Check(const Context& context, const CniPod& pod) {
  RETURN_IF_ERROR(CheckPod(pod));
  ASSIGN_OR_RETURN(CniRecord record, state_->cache.Read(pod.id), "network of pod ", pod.id);
  if (record.result.is_null()) {
    return Error(Code::kFailedPrecondition, StrCat("network of pod ", pod.id, " is half made"));
  }
  if (record.network.disable_check || !HasCniCheck(record.network.version)) return Ok();
  for (const Json& plugin : record.network.plugins) {
    Json config = ExecutionConfig(record, plugin, record.result);
    if (HasNothingToDo(config)) continue;
    RETURN_IF_ERROR(RunCniPlugin(context, state_->Call("CHECK", pod.id, record), config));
  }
  return Ok();
}

Result<std::vector<std::string>> Cni::ListCached() {
  return state_->cache.List();
}

}  // namespace berth::runtime
