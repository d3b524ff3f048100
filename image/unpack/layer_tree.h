// Walks to the directories of the layer that is being written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace berth::image {

// A path of the archive made canonical: no empty, "." or ".." parts, no slash at either end; "" is
// the root. InvalidArgument for one that climbs out of the root or has a name longer than
// kMaxNameBytes.
Result<std::string> CleanPath(std::string_view path);

// Symlinks on the way are followed as a container with this root would: absolute targets and ".."
// end at the root. Every step is one openat(2) with O_NOFOLLOW; the layer has no other writer, so
// what was looked at is what is used. The last directory stays open: entries come in the order of
// directories.
class LayerTree {
 public:
  // `root` is borrowed. `make_missing`: directories that are not there are made (0755, root).
  LayerTree(int root, bool make_missing) : root_(root), make_missing_(make_missing) {}

  // The directory of a canonical path; an O_PATH descriptor, borrowed until the next call.
  Result<int> Open(std::string_view path);
  // The path of the directory last opened, without symlinks; "" is the root.
  std::string ResolvedPath() const;
  // After something other than a file was removed or replaced.
  void Forget() { stale_ = true; }
  // Paths, without symlinks, of the directories made since the start.
  const std::vector<std::string>& made() const { return made_; }

 private:
  struct Level {
    std::string name;
    UniqueFd fd;
  };

  int Top() const { return levels_.empty() ? root_ : levels_.back().fd.get(); }
  size_t ReuseCommonLevels(std::string_view path);
  Status Walk(std::string_view path, std::string_view rest);
  Status Enter(const std::string& name, std::vector<std::string>& todo);
  Status FollowLink(const std::string& name, std::vector<std::string>& todo);

  const int root_;
  const bool make_missing_;
  std::vector<Level> levels_;
  std::string last_;           // the path of the last Open()
  bool last_is_plain_ = true;  // it had no symlinks: levels_ are its parts
  bool stale_ = false;
  int links_ = 0;  // symlinks followed in this walk
  std::vector<std::string> made_;
  size_t made_bytes_ = 0;
};

}  // namespace berth::image
