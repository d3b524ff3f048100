#include "snapshotter/read_only_store.h"

#include <fcntl.h>

#include "base/file.h"
#include "snapshotter/names.h"

namespace berth::snapshotter {

Result<std::unique_ptr<const ReadOnlyStore>> ReadOnlyStore::Open(const std::string& root) {
  ASSIGN_OR_RETURN(auto root_fd, berth::Open(root, O_RDONLY | O_DIRECTORY), "layer store");
  std::unique_ptr<ReadOnlyStore> store(new ReadOnlyStore(root, std::move(root_fd)));
  ASSIGN_OR_RETURN(auto layers, OpenAt(store->root_fd(), "layers", O_RDONLY | O_DIRECTORY),
                   "layer store ", root);
  RETURN_IF_ERROR(ForEachEntry(layers.get(),
                               [&](const std::string& hex) -> Status {
                                 if (!IsLayerHex(hex)) return Ok();
                                 auto record = ReadLayerRecord(layers.get(), hex);
                                 if (record.ok() && record->boot == kDurable) {
                                   store->layers_[hex] = std::move(*record);
                                 }
                                 return Ok();
                               }),
                  "layer store ", root);
  return std::unique_ptr<const ReadOnlyStore>(std::move(store));
}

const LayerRecord* ReadOnlyStore::FindLayer(const std::string& hex) const {
  const auto found = layers_.find(hex);
  return found == layers_.end() ? nullptr : &found->second;
}

}  // namespace berth::snapshotter
