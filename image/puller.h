// PullImage: from a reference to an image in the store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/image_store.h"
#include "image/layer_unpacker.h"
#include "image/progress.h"
#include "image/pull_stats.h"
#include "image/registry_auth.h"
#include "image/registry_hosts.h"

namespace berth::image {

struct PullerOptions {
  RegistryOptions registry;
  int max_parallel_layers = 6;        // of all pulls together
  int64_t stall_timeout_ms = 60'000;  // a transfer that moves nothing for so long has failed
};

struct PullRequest {
  std::string reference;
  RegistryAuth auth;
  ProgressCallback progress;  // may be empty
};

struct PullUnderWay {
  std::string reference;
  int64_t started_at_ns = 0;  // wall clock
  std::vector<LayerProgress> layers;
};

// Thread-safe. A pull of what is being pulled already (same reference, same credentials) joins it;
// it goes on until the last of its callers has gone. What it was given must outlive it, and no
// Pull() may be running when it is destroyed.
class Puller {
 public:
  Puller(PullerOptions options, LayerUnpacker& unpacker, snapshotter::Snapshotter& snapshotter,
         ImageStore& store);
  ~Puller();

  // Returns the image once it is in the store. Nothing is kept of a pull that failed, but layers
  // that were whole by then. Errors name the registry, the reference and what it answered:
  // InvalidArgument (reference), NotFound (name, tag, digest, platform), Unauthenticated,
  // PermissionDenied, Unavailable (down, 5xx, 429), DataLoss (digest, truncated),
  // ResourceExhausted.
  Result<std::shared_ptr<const Image>> Pull(const Context& context, const PullRequest& request);

  std::vector<PullUnderWay> UnderWay();
  const PullStats& stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace berth::image
