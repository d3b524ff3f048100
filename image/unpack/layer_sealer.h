// Makes the layer's seal while the layer is written: of the bytes that pass, and of what the file
// system has made of each entry.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "snapshotter/seal.h"

namespace berth::image {

// Nothing is read that was written but files with several names, once each. If an entry replaces
// another, which tools do not write into layers, the sum no longer tells what is there: then
// Finish() walks the tree and reads it all. Paths are without symlinks; descriptors are borrowed.
class LayerSealer {
 public:
  explicit LayerSealer(int root);

  // Content of the file of the next AddFile().
  void Content(int64_t offset, std::string_view bytes);
  Status AddFile(const std::string& path, int fd, bool has_xattrs);
  // Symlinks, devices, fifos.
  Status AddNode(const std::string& path, int parent, const std::string& name);
  // One more name of a file.
  Status AddLink(const std::string& path, int parent, const std::string& name);
  // Once nothing of it will change.
  Status AddDirectory(const std::string& path, int fd, bool has_xattrs);
  void EntryReplaced() { walk_ = true; }

  // `opaque`: directories that will be made so; "." is the root.
  Result<snapshotter::Seal> Finish(const std::vector<std::string>& opaque);

 private:
  Status Add(const std::string& path, int fd, bool has_xattrs, snapshotter::Hash128 content);

  const int root_;
  bool walk_ = false;
  snapshotter::ContentHash content_;
  snapshotter::SealBuilder builder_;
  std::unordered_map<ino_t, snapshotter::SealedBody> linked_;  // what has several names
};

}  // namespace berth::image
