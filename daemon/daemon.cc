#include "daemon/daemon.h"

#include <glog/logging.h>

#include <utility>
#include <vector>

#include "base/file.h"
#include "cri/berth_service.h"
#include "cri/call_stats.h"
#include "cri/image_service.h"
#include "cri/metrics_page.h"
#include "cri/metrics_server.h"
#include "cri/runtime_service.h"
#include "cri/server.h"
#include "cri/stream/server.h"
#include "cri/stream_calls.h"
#include "daemon/image_setup.h"
#include "daemon/instance_lock.h"
#include "runtime/apparmor.h"
#include "snapshotter/overlay.h"

namespace berth::daemon {

namespace {

// How long calls under way may take to end by themselves before they are cancelled.
constexpr int64_t kStopGraceMs = 1000;
constexpr int64_t kLoadProfileMs = 10'000;

cri::stream::ServerOptions StreamOptionsOf(const config::Config::Streaming& config) {
  cri::stream::ServerOptions options;
  options.address = config.address;
  options.port = static_cast<uint16_t>(config.port);
  options.tls_cert_file = config.tls_cert_file;
  options.tls_key_file = config.tls_key_file;
  options.idle_timeout_ms = config.idle_timeout_s * 1000;
  return options;
}

// Before the first container; containers that do not need the profile run without it.
void LoadAppArmorProfile() {
  Status loaded = runtime::LoadDefaultAppArmorProfile(Context::WithTimeoutMs(kLoadProfileMs));
  if (!loaded.ok()) {
    LOG(WARNING) << "AppArmor: containers have no default profile: " << loaded.error().message();
  }
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::Start(config::Config config) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config)));
  RETURN_IF_ERROR(daemon->Open());
  return daemon;
}

Daemon::Daemon(config::Config config) : config_(std::move(config)) {}

Status Daemon::Open() {
  RETURN_IF_ERROR(MakeDirs(config_.root, 0700), "root");
  // Others pass through it on their way to the socket and see nothing: all below is 0700.
  RETURN_IF_ERROR(MakeDirs(config_.state, 0711), "state");
  ASSIGN_OR_RETURN(root_lock_, LockDirectory(config_.root), "root");
  ASSIGN_OR_RETURN(state_lock_, LockDirectory(config_.state), "state");
  ASSIGN_OR_RETURN(lifetime_, Context::Cancellable());
  ASSIGN_OR_RETURN(loop_, EventLoop::Start());
  RETURN_IF_ERROR(OpenImages());
  LoadAppArmorProfile();
  config::Config found = config_;
  ASSIGN_OR_RETURN(found.runtime.shim_path,
                   FindHelper(config_.runtime.shim_path, "berth-shim", "runtime.shim_path"));
  live_ = std::make_unique<config::LiveConfig>(std::move(found));
  ASSIGN_OR_RETURN(runtime_, runtime::Runtime::Open(*live_, *loop_, *snapshotter_, *images_));
  return Serve();
}

Status Daemon::OpenImages() {
  snapshotter::OverlayOptions options;
  options.containers_root = config_.containers_root;
  std::vector<std::string> databases;
  for (const std::string& root : config_.image.additional_stores) {
    options.read_only.push_back(root + "/overlay");
    databases.push_back(root + "/meta.db");
  }
  ASSIGN_OR_RETURN(snapshotter_, snapshotter::OpenOverlay(config_.root + "/overlay", options));
  ASSIGN_OR_RETURN(images_,
                   image::ImageStore::Open(config_.root + "/meta.db", *snapshotter_, databases));
  ASSIGN_OR_RETURN(std::string worker,
                   FindHelper(config_.runtime.unpack_path, "berth-unpack", "runtime.unpack_path"));
  ASSIGN_OR_RETURN(auto cgroup, image::PullCgroup::Make(PullCgroupOptionsOf(config_.image)),
                   "image.pull_cgroup");
  unpacker_ = std::make_unique<image::LayerUnpacker>(
      std::move(worker), *snapshotter_, std::move(cgroup), config_.image.keep_layer_blobs);
  puller_ = std::make_unique<image::Puller>(PullerOptionsOf(config_.image), *unpacker_,
                                            *snapshotter_, *images_);
  ASSIGN_OR_RETURN(importer_, image::Importer::Create(*unpacker_, *snapshotter_, *images_,
                                                      config_.image.max_parallel_layers));
  exporter_ = std::make_unique<image::Exporter>(*snapshotter_, *images_);
  pusher_ = std::make_unique<image::Pusher>(PullerOptionsOf(config_.image), *exporter_, *images_);
  return Ok();
}

Status Daemon::Serve() {
  ASSIGN_OR_RETURN(streams_, cri::stream::Server::Start(StreamOptionsOf(config_.streaming),
                                                        cri::StreamCallsOf(*runtime_)));
  runtime_service_ = std::make_unique<cri::RuntimeService>(
      cri::RuntimeServiceOptions{BERTH_VERSION, *live_, lifetime_}, *runtime_, *images_, *streams_);
  image_service_ = std::make_unique<cri::ImageService>(
      cri::ImageServiceOptions{config_.image.pinned, lifetime_}, *images_, *puller_, *snapshotter_);
  berth_service_ = std::make_unique<cri::BerthService>(
      lifetime_,
      cri::BerthServiceParts{*images_, *puller_, *importer_, *exporter_, *pusher_, *snapshotter_});
  call_stats_ = std::make_unique<cri::CallStats>();
  RETURN_IF_ERROR(ServeMetrics());
  ASSIGN_OR_RETURN(
      server_,
      cri::Server::Start({config_.listen, config_.socket_gid, call_stats_.get()},
                         {runtime_service_.get(), image_service_.get(), berth_service_.get()}));
  return Ok();
}

Status Daemon::ServeMetrics() {
  if (config_.metrics.listen.empty()) return Ok();
  auto content = [this] {
    return cri::MetricsPage(
        {BERTH_VERSION, *call_stats_, *puller_, *images_, *snapshotter_, *runtime_});
  };
  ASSIGN_OR_RETURN(metrics_server_,
                   cri::MetricsServer::Start(config_.metrics.listen, config_.socket_gid, content));
  LOG(INFO) << "metrics: serving /metrics on " << metrics_server_->address();
  return Ok();
}

std::vector<config::Change> Daemon::Reload(const config::Config& config) {
  auto changes = config::Differences(config_, config);
  config_ = config::TakeLive(config_, config);
  live_->Set(config::TakeLive(*live_->Get(), config));
  runtime_->Reconfigure();
  image_service_->SetPinned(config.image.pinned);
  return changes;
}

Daemon::~Daemon() {
  Stop();
}

void Daemon::Stop() {
  lifetime_.Cancel();
  if (server_) server_->Stop(kStopGraceMs);
  server_.reset();
  metrics_server_.reset();
  call_stats_.reset();
  berth_service_.reset();
  streams_.reset();
  image_service_.reset();
  runtime_service_.reset();
  runtime_.reset();
  pusher_.reset();
  exporter_.reset();
  importer_.reset();
  puller_.reset();
  unpacker_.reset();
  images_.reset();
  snapshotter_.reset();
  loop_.reset();
}

}  // namespace berth::daemon
