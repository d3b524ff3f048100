// From an archive to images in the store.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "image/archive/archive_source.h"
#include "image/image_store.h"
#include "image/layer_fetcher.h"
#include "image/progress.h"

namespace berth::image {

struct ImportRequest {
  std::string description;     // the archive's name, for errors and the log
  std::string base_name;       // see ReadArchive()
  int64_t imported_at_ns = 0;  // what the images tell as their time
  ProgressCallback progress;   // may be empty
};

// Thread-safe. All it was given must outlive it.
class Importer {
 public:
  static Result<std::unique_ptr<Importer>> Create(LayerUnpacker& unpacker,
                                                  snapshotter::Snapshotter& snapshotter,
                                                  ImageStore& store, int max_parallel_layers);

  // Layers take the way that those of pulls do: through a sandboxed berth-unpack, checked by
  // digest. Images come into the store when all layers of all of them are there. Of a failure only
  // whole layers stay, for the next try (ImageStore::NoteUnfinished). The context has to be
  // cancellable: the first failure cancels it.
  Result<std::vector<std::shared_ptr<const Image>>> Import(const Context& context,
                                                           ArchiveSource& source,
                                                           const ImportRequest& request);

 private:
  Importer(std::unique_ptr<LayerFetcher> fetcher, ImageStore& store)
      : fetcher_(std::move(fetcher)), store_(store) {}

  const std::unique_ptr<LayerFetcher> fetcher_;
  ImageStore& store_;
};

}  // namespace berth::image
