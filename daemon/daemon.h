// The daemon's objects, built in order and taken down in reverse.
#pragma once

#include <memory>
#include <vector>

#include "base/context.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "config/config.h"
#include "config/live.h"
#include "config/reload.h"
#include "image/exporter.h"
#include "image/image_store.h"
#include "image/importer.h"
#include "image/layer_unpacker.h"
#include "image/puller.h"
#include "image/pusher.h"
#include "runtime/runtime.h"
#include "snapshotter/snapshotter.h"

namespace berth::cri {
class BerthService;
class CallStats;
class ImageService;
class MetricsServer;
class RuntimeService;
class Server;
}  // namespace berth::cri
namespace berth::cri::stream {
class Server;
}  // namespace berth::cri::stream

namespace berth::daemon {

class Daemon {
 public:
  // Returns once recovery is done and the socket is served. On failure everything is as before.
  // FailedPrecondition if another daemon has the root, the state or the socket.
  static Result<std::unique_ptr<Daemon>> Start(config::Config config);
  // Stop().
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Ends the calls under way (what they were doing is undone or left to recovery) and takes
  // everything down. Containers run on.
  void Stop();

  // Takes up what can change while it serves (config/reload.h). Returns all that is different, with
  // what has to wait for a restart; that is told again at each reload until then. Not thread-safe.
  std::vector<config::Change> Reload(const config::Config& config);

  EventLoop& loop() { return *loop_; }

 private:
  explicit Daemon(config::Config config);
  Status Open();
  Status OpenImages();
  Status Serve();
  Status ServeMetrics();

  config::Config config_;  // as given, and what reloads have changed
  // The same with what Open() has found out, for everybody else.
  std::unique_ptr<config::LiveConfig> live_;
  UniqueFd root_lock_, state_lock_;
  Context lifetime_ = Context::Background();
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<snapshotter::Snapshotter> snapshotter_;
  std::unique_ptr<image::ImageStore> images_;
  std::unique_ptr<image::LayerUnpacker> unpacker_;
  std::unique_ptr<image::Puller> puller_;
  std::unique_ptr<image::Importer> importer_;
  std::unique_ptr<image::Exporter> exporter_;
  std::unique_ptr<image::Pusher> pusher_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<cri::stream::Server> streams_;
  std::unique_ptr<cri::RuntimeService> runtime_service_;
  std::unique_ptr<cri::ImageService> image_service_;
  std::unique_ptr<cri::BerthService> berth_service_;
  std::unique_ptr<cri::CallStats> call_stats_;
  std::unique_ptr<cri::MetricsServer> metrics_server_;  // null: not wanted
  std::unique_ptr<cri::Server> server_;
};

}  // namespace berth::daemon
