// The runtime as cri/ and daemon/ see it: owns the managers and everything that they share.
#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "config/live.h"
#include "image/image_store.h"
#include "runtime/cgroup.h"
#include "runtime/cni.h"
#include "runtime/container_manager.h"
#include "runtime/events.h"
#include "runtime/exec_manager.h"
#include "runtime/metrics.h"
#include "runtime/pod_manager.h"
#include "runtime/runtime_handlers.h"
#include "runtime/stats.h"
#include "snapshotter/snapshotter.h"

namespace berth::runtime {

class Runtime {
 public:
  // Opens meta.db, finds what a former daemon left and finishes or undoes it (docs/RECOVERY.md); it
  // returns when every pod and container has its true state. `live` names the shim's program. All
  // arguments must outlive it.
  static Result<std::unique_ptr<Runtime>> Open(const config::LiveConfig& live, EventLoop& loop,
                                               snapshotter::Snapshotter& snapshotter,
                                               image::ImageStore& images);
  // Stops the loop and leaves every container running.
  ~Runtime();

  // The live configuration has been replaced: takes up what is not read at each use. Asks the
  // programs of runtime handlers what they can do, which may take a while.
  void Reconfigure();

  PodManager& pods();
  ContainerManager& containers();
  ExecManager& execs();
  StatsCollector& stats();
  MetricsCollector& metrics();
  EventBus& events();
  CgroupDriver& cgroups();
  Cni& cni();
  std::shared_ptr<const RuntimeHandlers> handlers();

 private:
  explicit Runtime(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
  PodManager pods_;
  ContainerManager containers_;
  ExecManager execs_;
  StatsCollector stats_;
  MetricsCollector metrics_;
};

}  // namespace berth::runtime
