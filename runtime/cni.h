// Container networks by CNI 1.x: configuration lists, plugins executed as CNI's spec says, results
// cached on disk so that DEL and CHECK work after a restart.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/sync.h"
#include "runtime/types.h"

namespace berth::runtime {

struct CniOptions {
  std::string conf_dir;
  std::vector<std::string> bin_dirs;
  std::string cache_dir;
  int64_t timeout_ms = 30'000;  // of one plugin
};

struct CniPod {
  std::string id, name, namespace_, uid;
  std::string netns_path;
  std::vector<PortMapping> port_mappings;
  StringMap annotations;  // kubernetes.io/ingress-bandwidth and egress-bandwidth
};

struct CniResult {
  std::vector<std::string> ips;  // without prefix length; the default interface's (eth0)
  std::string json;              // the result as the last plugin gave it
};

// Thread-safe. Operations on one pod are the caller's to serialize.
class Cni {
 public:
  // Loads the directory and reloads it when it changes (inotify on the loop).
  static Result<std::unique_ptr<Cni>> Open(CniOptions options, EventLoop& loop);
  ~Cni();

  // Takes up another conf_dir, bin_dirs and timeout_ms; operations under way keep the former. The
  // cache stays where it is.
  void Reconfigure(const CniOptions& options);

  // Ok, or why no network can be made: the reason is for NetworkReady's message.
  Status Ready();
  // The configuration in use, as JSON text; empty if none.
  std::string ConfigJson();

  // Runs the list's plugins in order. If one fails, those that ran are undone with DEL, and the
  // error names plugin, exit code and what it said. Unavailable while there is no configuration.
  Result<CniResult> Add(const Context& context, const CniPod& pod);
  // Idempotent; also after an ADD that failed half-way or a restart, with the configuration that
  // ADD had used. Goes on past a failing plugin where CNI allows it and returns the first error.
  Status Del(const Context& context, const CniPod& pod);
  Status Check(const Context& context, const CniPod& pod);
  // Ids of pods with a cached result (for the sweep after a restart).
  Result<std::vector<std::string>> ListCached();

 private:
  struct State;
  explicit Cni(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace berth::runtime
