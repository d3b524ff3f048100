// Checks the layers of the store against their seals, and brings damaged ones anew.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/image_store.h"
#include "image/puller.h"
#include "snapshotter/snapshotter.h"

namespace berth::image {

struct VerifiedLayer {
  size_t done = 0;  // layers looked at, this one too
  size_t total = 0;
  std::string diff_id;
  std::string store;                // the root of the read-only store it is in; empty: the own one
  std::string problem;              // empty: it is whole
  std::vector<std::string> images;  // those it hurts, each by a name or its id
  bool repaired = false;
  std::string not_repaired;  // why, if a repair was asked for
};

// Thread-safe. What it was given must outlive it.
class StoreVerifier {
 public:
  StoreVerifier(snapshotter::Snapshotter& snapshotter, ImageStore& store, Puller& puller)
      : snapshotter_(snapshotter), store_(store), puller_(puller) {}

  // Reads every layer, of the own store and then of the read-only ones, with the blob that was kept
  // of it, one after the other, and tells of each; a layer that has gone meanwhile is left out.
  // `repair`: a damaged layer of the own store that no container uses is pulled again by the digest
  // of an image that has it, alone and without the credentials of any request, and takes the
  // damaged one's place. If that fails the damaged one stays. `tell` ends it by returning false
  // (Cancelled). Layers that nothing uses are not collected meanwhile.
  Status Verify(const Context& context, bool repair,
                const std::function<bool(const VerifiedLayer&)>& tell);

 private:
  Status Look(const Context& context, const VerifiedLayer& layer);
  Status Check(const Context& context, VerifiedLayer& layer);
  Status Repair(const Context& context, const VerifiedLayer& layer);
  Status Bring(const Context& context, const std::string& diff_id);

  snapshotter::Snapshotter& snapshotter_;
  ImageStore& store_;
  Puller& puller_;
};

}  // namespace berth::image
