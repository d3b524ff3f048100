#include "image/pusher.h"

#include "image/layer_fetcher.h"
#include "image/reference.h"
#include "image/registry_push.h"

namespace berth::image {

namespace {

// Sends what the registry does not have.
Status PushLayer(const Context& context, RepositoryWriter& repository, Exporter& exporter,
                 const OutgoingLayer& layer, const LayerFetcher::StateCallback& on_state) {
  ASSIGN_OR_RETURN(const bool there, repository.HasBlob(context, layer.digest));
  if (there) {
    on_state(LayerState::kExists, static_cast<int64_t>(layer.size_bytes));
    return Ok();
  }
  on_state(LayerState::kDownloading, 0);
  auto source = [&](const RepositoryWriter::Sink& sink) {
    return exporter.WriteLayer(context, layer, BlobFormat::kGzip, sink);
  };
  RETURN_IF_ERROR(repository.PushBlob(context, layer.digest, source, [&](int64_t sent) {
    on_state(LayerState::kDownloading, sent);
  }));
  on_state(LayerState::kDone, static_cast<int64_t>(layer.size_bytes));
  return Ok();
}

Result<Reference> DestinationOf(const PushRequest& request) {
  const std::string& text = request.destination.empty() ? request.image : request.destination;
  ASSIGN_OR_RETURN(Reference reference, ParseReference(text), "destination");
  if (reference.digest.empty()) return reference;
  return Error(Code::kInvalidArgument,
               StrCat("destination: \"", Printable(text), "\" has a digest; it needs a tag"));
}

// The first server that takes pushes.
Result<AuthScope> ScopeFor(const Context& context, const Reference& destination,
                           const RegistryAuth& auth, const RegistryOptions& registry) {
  ASSIGN_OR_RETURN(auto routes,
                   RoutesFor(context, destination.domain, destination.repository, auth, registry));
  for (AuthScope& scope : routes) {
    if (scope.endpoint.push) return std::move(scope);
  }
  return Error(Code::kFailedPrecondition, StrCat("no server of ", destination.domain,
                                                 " takes pushes (capabilities in hosts.toml)"));
}

}  // namespace

Pusher::Pusher(const PullerOptions& options, Exporter& exporter, ImageStore& store)
    : registry_(options.registry),
      http_({options.stall_timeout_ms}),
      authorizer_(http_),
      exporter_(exporter),
      store_(store) {}

Result<PushResult> Pusher::Push(const Context& context, const PushRequest& request) {
  const LayerHold hold(store_);
  auto image = store_.Find(request.image);
  if (image == nullptr) {
    return Error(Code::kNotFound, StrCat("there is no image \"", Printable(request.image), "\""));
  }
  ASSIGN_OR_RETURN(const Reference destination, DestinationOf(request));
  const std::string what = StrCat("push ", destination.ToString());
  ASSIGN_OR_RETURN(auto scope, ScopeFor(context, destination, request.auth, registry_), what);
  ASSIGN_OR_RETURN(const OutgoingImage outgoing,
                   exporter_.Prepare(context, image, BlobFormat::kGzip), what);
  RepositoryWriter repository(http_, authorizer_, std::move(scope));
  ProgressBoard board;
  board.Listen(request.progress);
  std::vector<LayerProgress> start;
  for (const OutgoingLayer& layer : outgoing.layers) {
    start.push_back({layer.digest, 0, static_cast<int64_t>(layer.size_bytes)});
  }
  board.Start(std::move(start));
  for (size_t i = 0; i < outgoing.layers.size(); ++i) {
    Status pushed = PushLayer(context, repository, exporter_, outgoing.layers[i],
                              [&](LayerState state, int64_t done) { board.Set(i, state, done); });
    if (pushed.ok()) continue;
    board.Set(i, LayerState::kFailed, 0);
    return std::move(pushed).error().Wrap(StrCat(what, ": layer ", i));
  }
  RETURN_IF_ERROR(repository.PushBlob(context, outgoing.config_digest, outgoing.config), what,
                  ": configuration");
  RETURN_IF_ERROR(
      repository.PushManifest(context, destination.tag,
                              "application/vnd.oci.image.manifest.v1+json", outgoing.manifest),
      what, ": manifest");
  return PushResult{outgoing.manifest_digest, outgoing.config_digest, outgoing.Warning()};
}

}  // namespace berth::image
