// A layer of the overlay snapshotter that is being written.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "snapshotter/overlay_store.h"
#include "snapshotter/snapshotter.h"

namespace berth::snapshotter {

class OverlayStaged : public StagedLayer {
 public:
  // `path` is a staging directory of the store; `discard` gets it, unless it was committed.
  // `writing` is held as long as this lives.
  OverlayStaged(std::shared_ptr<OverlayStore> store, std::string hex, std::string path,
                std::function<Status(const std::string& path)> discard,
                std::shared_ptr<void> writing)
      : store_(std::move(store)),
        hex_(std::move(hex)),
        path_(std::move(path)),
        discard_(std::move(discard)),
        writing_(std::move(writing)) {}
  ~OverlayStaged() override;

  Status MakeDirectory();
  // AlreadyExists leaves it to the destructor.
  Status Commit(Usage usage);

  int dir() const override { return dir_.get(); }
  Status SetOpaque(const std::string& path) override;
  Result<int> BlobFile() override;
  void SetBlob(const std::string& digest, const std::string& compression) override {
    digest_ = digest;
    compression_ = compression;
  }
  void SetSeal(const Seal& seal) override { seal_ = seal; }

 private:
  Status FinishBlob(LayerRecord* record);

  const std::shared_ptr<OverlayStore> store_;
  const std::string hex_;
  std::string path_;  // empty once it is committed
  const std::function<Status(const std::string& path)> discard_;
  const std::shared_ptr<void> writing_;
  UniqueFd dir_;
  bool opaque_root_ = false;
  std::optional<Seal> seal_;
  UniqueFd blob_;
  std::string digest_, compression_;
};

}  // namespace berth::snapshotter
