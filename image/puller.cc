#include "image/puller.h"

#include <glog/logging.h>

#include <algorithm>
#include <thread>

#include "base/failpoint.h"
#include "base/sync.h"
#include "base/thread.h"
#include "base/time.h"
#include "image/digest.h"
#include "image/image_config.h"
#include "image/layer_fetcher.h"
#include "image/reference.h"
#include "image/registry.h"

namespace berth::image {

namespace {

// Chunks in memory, of all pulls: what a pull may add to the daemon is bounded.
constexpr int kRangeSlots = 4;

using ImagePtr = std::shared_ptr<const Image>;

// One pull with all who wait for it.
struct Flight {
  Flight(std::string of, Context pull_context, OneShotEvent event)
      : reference(std::move(of)), context(std::move(pull_context)), done(std::move(event)) {}

  const std::string reference;
  const int64_t started_at_ns = WallNs();
  PullTimes times;  // of the flight's thread
  Context context;  // cancelled by the last caller that leaves, or by the first layer that fails
  OneShotEvent done;
  ProgressBoard progress;
  Result<ImagePtr> result = ImagePtr();  // valid after done
  int callers = 0;                       // guarded by the puller's mutex
  std::string image_id;                  // once it is known; of the flight's thread
  std::thread thread;
};

}  // namespace

struct Puller::State {
  State(PullerOptions pull_options, snapshotter::Snapshotter& layers, ImageStore& images)
      : options(std::move(pull_options)),
        http({options.stall_timeout_ms}),
        authorizer(http),
        snapshotter(layers),
        store(images) {}

  // What is found out about the image on the way.
  struct Job {
    Reference reference;
    RegistryAuth auth;
    Flight& flight;
  };
  struct Found {
    std::string top_digest;  // of what the reference named: the index's, if it is one
    Manifest manifest;
    Image image;
  };

  Result<std::shared_ptr<Flight>> Join(const std::string& key, const Reference& reference,
                                       const RegistryAuth& auth);
  void Run(const std::string& key, const std::shared_ptr<Flight>& flight,
           const Reference& reference, const RegistryAuth& auth);
  void MakeRoom(const Flight& flight);
  void Conclude(Flight& flight);
  Result<ImagePtr> Pull(const Job& job);
  Result<ImagePtr> PullNew(const Job& job, Repository& repository);
  Result<ImagePtr> FindCurrent(const Job& job, Repository& repository);
  Result<Found> FindImage(const Job& job, Repository& repository);
  Result<ImagePtr> Record(const Job& job, const std::string& top_digest, Image image);

  PullerOptions options;
  HttpClient http;
  Authorizer authorizer;
  RangeSlots range_slots{kRangeSlots};
  snapshotter::Snapshotter& snapshotter;
  ImageStore& store;
  Result<std::unique_ptr<LayerFetcher>> fetcher = std::unique_ptr<LayerFetcher>();

  Mutex mutex;
  std::map<std::string, std::shared_ptr<Flight>> flights GUARDED_BY(mutex);
  PullStats stats;
};

Puller::Puller(PullerOptions options, LayerUnpacker& unpacker,
               snapshotter::Snapshotter& snapshotter, ImageStore& store)
    : state_(std::make_unique<State>(std::move(options), snapshotter, store)) {
  state_->fetcher =
      LayerFetcher::Create(unpacker, snapshotter, std::max(1, state_->options.max_parallel_layers));
}

Puller::~Puller() = default;

Result<std::shared_ptr<const Image>> Puller::Pull(const Context& context,
                                                  const PullRequest& request) {
  ASSIGN_OR_RETURN(auto reference, ParseReference(request.reference), "pull");
  const std::string what = StrCat("pull ", reference.ToString());
  if (!state_->fetcher.ok()) return Error(state_->fetcher.error()).Wrap(what);
  // Whichever host they turn out to be for.
  RegistryAuth anywhere = request.auth;
  anywhere.server_address.clear();
  ASSIGN_OR_RETURN(auto credentials, CredentialsFor(anywhere, reference.domain), what);
  const std::string key = StrCat(reference.ToString(), "|", request.auth.server_address, "|",
                                 credentials.Fingerprint());

  ASSIGN_OR_RETURN(auto flight, state_->Join(key, reference, request.auth), what);
  const auto listener = flight->progress.Listen(request.progress);
  Status waited = flight->done.Wait(context, what);
  flight->progress.Leave(listener);
  bool last = false;
  {
    MutexLock lock(state_->mutex);
    last = --flight->callers == 0;
    // Nobody may join a pull that is about to be cancelled.
    auto it = state_->flights.find(key);
    if (last && it != state_->flights.end() && it->second == flight) state_->flights.erase(it);
  }
  if (last) {
    flight->context.Cancel();
    flight->thread.join();
  }
  RETURN_IF_ERROR(waited);
  if (!flight->result.ok()) return Error(flight->result.error()).Wrap(what);
  return flight->result;
}

std::vector<PullUnderWay> Puller::UnderWay() {
  MutexLock lock(state_->mutex);
  std::vector<PullUnderWay> out;
  for (const auto& [key, flight] : state_->flights) {
    out.push_back({flight->reference, flight->started_at_ns, flight->progress.Layers()});
  }
  return out;
}

const PullStats& Puller::stats() const {
  return state_->stats;
}

Result<std::shared_ptr<Flight>> Puller::State::Join(const std::string& key,
                                                    const Reference& reference,
                                                    const RegistryAuth& auth) {
  MutexLock lock(mutex);
  if (auto it = flights.find(key); it != flights.end()) {
    ++it->second->callers;
    return it->second;
  }
  ASSIGN_OR_RETURN(auto context, Context::Cancellable());
  ASSIGN_OR_RETURN(auto event, OneShotEvent::Create());
  auto flight =
      std::make_shared<Flight>(reference.ToString(), std::move(context), std::move(event));
  flight->callers = 1;
  // The thread ends before its flight does: the last caller joins it.
  ASSIGN_OR_RETURN(flight->thread, StartThread([this, key, flight, reference, auth] {
                     Run(key, flight, reference, auth);
                   }));
  flights[key] = flight;
  return flight;
}

void Puller::State::Run(const std::string& key, const std::shared_ptr<Flight>& flight,
                        const Reference& reference, const RegistryAuth& auth) {
  {
    LayerHold hold(store);
    flight->result = Pull(Job{reference, auth, *flight});
  }
  if (flight->result.code() == Code::kResourceExhausted) MakeRoom(*flight);
  Conclude(*flight);
  {
    MutexLock lock(mutex);
    auto it = flights.find(key);
    if (it != flights.end() && it->second == flight) flights.erase(it);
  }
  flight->done.Signal();
}

// For the next try of a pull that found none: what other pulls left unfinished goes. Not if a
// document was too large, when there is no image yet, or a layer met a bound or a full disk, which
// ends the context.
void Puller::State::MakeRoom(const Flight& flight) {
  const bool refused = !flight.image_id.empty() && flight.context.Check("pull").ok();
  if (refused) (void)store.ForgetUnfinished(flight.image_id);
  // What it cannot remove stays for the next collection.
  (void)store.CollectLayers();
}

// A failure is for the callers to tell.
void Puller::State::Conclude(Flight& flight) {
  const std::vector<LayerProgress> layers = flight.progress.Layers();
  stats.LayersEnded(layers);
  stats.PullEnded(flight.result.code(), flight.times.total_ns());
  if (!flight.result.ok()) return;
  int64_t bytes = 0;
  size_t fetched = 0;
  for (const LayerProgress& layer : layers) {
    if (layer.state != LayerState::kDone) continue;
    ++fetched;
    bytes += layer.done_bytes;
  }
  LOG(INFO) << "pulled " << flight.reference << " (" << (*flight.result)->id << ", "
            << (*flight.result)->config.diff_ids.size() << " layers, " << fetched << " downloaded, "
            << bytes << " bytes) in " << flight.times.Text();
}

Result<ImagePtr> Puller::State::Pull(const Job& job) {
  Failpoint("pull.begun");
  ASSIGN_OR_RETURN(auto routes, RoutesFor(job.flight.context, job.reference.domain,
                                          job.reference.repository, job.auth, options.registry));
  Repository repository(http, authorizer, std::move(routes), &range_slots);
  ASSIGN_OR_RETURN(ImagePtr current, FindCurrent(job, repository));
  if (current != nullptr) return current;
  return PullNew(job, repository);
}

// The image of the store, if it is what the registry would give now: one HEAD, which registries do
// not count against their limits, and which also shows that this user may have it.
Result<ImagePtr> Puller::State::FindCurrent(const Job& job, Repository& repository) {
  if (store.Find(job.reference.ToString()) == nullptr) return ImagePtr();
  ASSIGN_OR_RETURN(std::string digest,
                   repository.Resolve(job.flight.context, job.reference.TagOrDigest()));
  if (digest.empty()) return ImagePtr();
  ImagePtr known = store.Find(StrCat(job.reference.Name(), "@", digest));
  if (known == nullptr) return ImagePtr();
  for (const std::string& diff_id : known->config.diff_ids) {
    if (!snapshotter.HasLayer(diff_id)) return ImagePtr();
  }
  return Record(job, digest, *known);
}

Result<Puller::State::Found> Puller::State::FindImage(const Job& job, Repository& repository) {
  const Context& context = job.flight.context;
  Found found;
  ASSIGN_OR_RETURN(RawManifest raw, repository.GetManifest(context, job.reference.TagOrDigest()));
  found.top_digest = raw.digest;
  ASSIGN_OR_RETURN(auto document, ParseManifest(raw.bytes, raw.content_type));
  const Platform host = HostPlatform();
  if (const auto* index = std::get_if<Index>(&document)) {
    ASSIGN_OR_RETURN(Descriptor chosen, SelectPlatform(*index, host));
    ASSIGN_OR_RETURN(raw, repository.GetManifest(context, chosen.digest));
    ASSIGN_OR_RETURN(document, ParseManifest(raw.bytes, raw.content_type));
  }
  auto* manifest = std::get_if<Manifest>(&document);
  if (manifest == nullptr) return Error(Code::kDataLoss, "manifest: an index within an index");
  found.manifest = std::move(*manifest);

  Image& image = found.image;
  image.id = found.manifest.config.digest;
  image.annotations = std::move(found.manifest.annotations);
  ASSIGN_OR_RETURN(image.config_json, repository.GetBlob(context, found.manifest.config),
                   "image configuration");
  ASSIGN_OR_RETURN(image.config, ParseImageConfig(image.config_json));
  RETURN_IF_ERROR(CheckForHost(image.config, found.manifest.layers.size()));
  return found;
}

Result<ImagePtr> Puller::State::PullNew(const Job& job, Repository& repository) {
  ASSIGN_OR_RETURN(Found found, FindImage(job, repository));
  job.flight.times.ManifestRead();
  Image& image = found.image;
  job.flight.image_id = image.id;
  // A full disk is for what follows to tell.
  Status noted = store.NoteUnfinished(image);
  if (!noted.ok()) LOG(WARNING) << "note a pull that begins: " << noted.error().message();
  std::vector<LayerFetcher::Layer> layers;
  for (size_t i = 0; i < found.manifest.layers.size(); ++i) {
    layers.push_back({found.manifest.layers[i], image.config.diff_ids[i]});
  }
  LayerFetcher::BlobSource source;
  source.stream = [&](const Context& context, const LayerFetcher::Layer& layer,
                      const BlobSink& sink) {
    return repository.StreamBlob(context, layer.blob, sink);
  };
  source.distrust = [&](const LayerFetcher::Layer& layer) {
    return repository.Distrust(layer.blob.digest);
  };
  RETURN_IF_ERROR((*fetcher)->EnsureAll(job.flight.context, source, layers, job.flight.progress));
  job.flight.times.LayersThere(job.flight.progress);
  ASSIGN_OR_RETURN(image.size_bytes, (*fetcher)->UnpackedBytes(image.config.diff_ids));
  return Record(job, found.top_digest, std::move(image));
}

Result<ImagePtr> Puller::State::Record(const Job& job, const std::string& top_digest, Image image) {
  image.pulled_at_ns = WallNs();
  image.repo_tags.clear();
  if (job.reference.digest.empty()) image.repo_tags = {job.reference.ToString()};
  image.repo_digests = {StrCat(job.reference.Name(), "@", top_digest)};
  RETURN_IF_ERROR(store.Put(image));
  Failpoint("pull.image_recorded");
  job.flight.times.Recorded();
  // Should it have been removed again by now, it was there all the same.
  ImagePtr recorded = store.Find(image.id);
  if (recorded == nullptr) recorded = std::make_shared<const Image>(std::move(image));
  return recorded;
}

}  // namespace berth::image
