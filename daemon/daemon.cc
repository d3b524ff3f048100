#include "daemon/daemon.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "base/file.h"
#include "cri/berth_service.h"
#include "cri/call_stats.h"
#include "cri/image_service.h"
#include "cri/runtime_service.h"
#include "cri/server.h"
#include "cri/stream/server.h"
#include "cri/stream_calls.h"
#include "daemon/instance_lock.h"
#include "snapshotter/overlay.h"

namespace berth::daemon {

namespace {

// How long calls under way may take to end by themselves before they are cancelled.
constexpr int64_t kStopGraceMs = 1000;

// The configured path of a helper binary, or the one beside this program, or the installed one.
Result<std::string> FindHelper(const std::string& configured, const std::string& name,
                               const std::string& key) {
  if (!configured.empty()) {
    if (access(configured.c_str(), X_OK) != 0) return ErrnoError(StrCat(key, ": ", configured));
    return configured;
  }
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  if (length < 0) return ErrnoError("readlink /proc/self/exe");
  std::string_view path(self, static_cast<size_t>(length));
  std::string beside = StrCat(path.substr(0, path.rfind('/') + 1), name);
  std::string installed = StrCat("/usr/libexec/berth/", name);
  for (const std::string& candidate : {beside, installed}) {
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return Error(Code::kNotFound,
               StrCat(name, " is neither ", beside, " nor ", installed, ": set ", key));
}

image::PullerOptions PullerOptionsOf(const config::Config::Image& config) {
  image::PullerOptions options;
  for (const auto& [host, registry] : config.registries) {
    options.hosts.push_back({host, registry.plain_http, registry.skip_verify, registry.ca_file});
  }
  options.max_parallel_layers = config.max_parallel_layers;
  options.stall_timeout_ms = config.stall_timeout_ms;
  return options;
}

cri::stream::ServerOptions StreamOptionsOf(const config::Config::Streaming& config) {
  cri::stream::ServerOptions options;
  options.address = config.address;
  options.port = static_cast<uint16_t>(config.port);
  options.tls_cert_file = config.tls_cert_file;
  options.tls_key_file = config.tls_key_file;
  options.idle_timeout_ms = config.idle_timeout_s * 1000;
  return options;
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
  config::Config found = config_;
  ASSIGN_OR_RETURN(found.runtime.shim_path,
                   FindHelper(config_.runtime.shim_path, "berth-shim", "runtime.shim_path"));
  live_ = std::make_unique<config::LiveConfig>(std::move(found));
  ASSIGN_OR_RETURN(runtime_, runtime::Runtime::Open(*live_, *loop_, *snapshotter_, *images_));
  return Serve();
}

Status Daemon::OpenImages() {
  ASSIGN_OR_RETURN(snapshotter_, snapshotter::OpenOverlay(config_.root + "/overlay"));
  ASSIGN_OR_RETURN(images_, image::ImageStore::Open(config_.root + "/meta.db", *snapshotter_));
  ASSIGN_OR_RETURN(std::string worker,
                   FindHelper(config_.runtime.unpack_path, "berth-unpack", "runtime.unpack_path"));
  unpacker_ = std::make_unique<image::LayerUnpacker>(std::move(worker), *snapshotter_);
  puller_ = std::make_unique<image::Puller>(PullerOptionsOf(config_.image), *unpacker_,
                                            *snapshotter_, *images_);
  return Ok();
}

Status Daemon::Serve() {
  ASSIGN_OR_RETURN(streams_, cri::stream::Server::Start(StreamOptionsOf(config_.streaming),
                                                        cri::StreamCallsOf(*runtime_)));
  runtime_service_ = std::make_unique<cri::RuntimeService>(
      cri::RuntimeServiceOptions{BERTH_VERSION, *live_, lifetime_}, *runtime_, *images_, *streams_);
  image_service_ = std::make_unique<cri::ImageService>(
      cri::ImageServiceOptions{config_.image.pinned, lifetime_}, *images_, *puller_, *snapshotter_);
  berth_service_ =
      std::make_unique<cri::BerthService>(lifetime_, cri::BerthServiceParts{*images_, *puller_});
  call_stats_ = std::make_unique<cri::CallStats>();
  ASSIGN_OR_RETURN(
      server_,
      cri::Server::Start({config_.listen, config_.socket_gid, call_stats_.get()},
                         {runtime_service_.get(), image_service_.get(), berth_service_.get()}));
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
  call_stats_.reset();
  berth_service_.reset();
  streams_.reset();
  image_service_.reset();
  runtime_service_.reset();
  runtime_.reset();
  puller_.reset();
  unpacker_.reset();
  images_.reset();
  snapshotter_.reset();
  loop_.reset();
}

}  // namespace berth::daemon
