// Writes the entries of a tar into the layer's directory, by descriptors only.
#pragma once

#include <sys/stat.h>

#include <ctime>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "image/unpack/layer_sealer.h"
#include "image/unpack/layer_tree.h"
#include "image/unpack/tar_reader.h"

namespace berth::image {

struct LayerContent {
  uint64_t disk_bytes = 0;
  uint64_t inodes = 0;
  std::vector<std::string> opaque;  // "." is the root
  snapshotter::Seal seal;
};

// Later entries replace earlier ones of the same name, but a directory that comes again keeps what
// is in it. Whiteouts ("Layer Filesystem Changeset" of the image-spec): `.wh.NAME` becomes a
// character device 0:0, `.wh..wh..opq` makes its directory opaque, other `.wh..wh.` names are
// dropped. Needs umask 0 and the capabilities that the sandbox leaves.
class LayerWriter {
 public:
  // `root` is borrowed.
  explicit LayerWriter(int root);

  // Writes the entry; takes a file's content from the reader. Errors name the entry:
  // InvalidArgument (what it asks for is not possible), ResourceExhausted (disk full, a limit).
  Status Write(const TarEntry& entry, TarReader& reader);
  // Sets what directories could not get before their content was there.
  Result<LayerContent> Finish();

 private:
  struct Directory {  // what Finish() sets
    mode_t mode;
    timespec mtime;
    std::vector<std::pair<std::string, std::string>> xattrs;
  };
  struct Place {  // where an entry goes
    int parent;
    std::string name;
  };

  Status Dispatch(const TarEntry& entry, const Place& place, TarReader& reader);
  Status WriteWhiteout(std::string_view parent, std::string_view name);
  Status HideName(const Place& place);
  Status WriteRoot(const TarEntry& entry);
  Status WriteDirectory(const TarEntry& entry, const Place& place);
  Status WriteFile(const TarEntry& entry, const Place& place, TarReader& reader);
  Status WriteContent(int fd, const TarEntry& entry, TarReader& reader);
  Status WriteHardLink(const TarEntry& entry, const Place& place);
  Status WriteNode(const TarEntry& entry, const Place& place);
  Status RecordDirectory(std::string path, const TarEntry& entry);
  Status FinishUnmentioned();
  Status FinishDirectory(const std::string& path, const Directory& directory);
  Status MarkOpaque(std::string path);
  Status Remove(const Place& place);
  Status CheckCount();
  std::string ResolvedPath(const std::string& name) const;

  const int root_;
  LayerTree parents_;                                       // directories of entries
  LayerTree link_targets_;                                  // directories of what hard links name
  std::unordered_map<std::string, Directory> directories_;  // by path without symlinks
  size_t directory_bytes_ = 0;
  std::unordered_set<std::string> opaque_;
  size_t opaque_bytes_ = 0;
  LayerSealer sealer_;
  uint64_t entries_ = 0;
  uint64_t inodes_ = 1;  // the root
  uint64_t disk_bytes_ = 0;
};

}  // namespace berth::image
