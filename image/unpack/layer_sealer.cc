#include "image/unpack/layer_sealer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "snapshotter/seal_tree.h"

namespace berth::image {

LayerSealer::LayerSealer(int root) : root_(root) {
  // A default ACL of the store's directory would be on everything in it.
  const auto xattrs = snapshotter::ReadLayerXattrs(root);
  walk_ = !xattrs.ok() || !xattrs->empty();
}

void LayerSealer::Content(int64_t offset, std::string_view bytes) {
  if (!content_.Add(static_cast<uint64_t>(offset), bytes)) walk_ = true;
}

Status LayerSealer::Add(const std::string& path, int fd, bool has_xattrs,
                        snapshotter::Hash128 content) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoError("stat");
  snapshotter::SealedBody body{content, {}};
  if (has_xattrs) {
    ASSIGN_OR_RETURN(const auto xattrs, snapshotter::ReadLayerXattrs(fd));
    body.xattrs = snapshotter::HashXattrs(xattrs);
  }
  builder_.Add(path, info, body);
  return Ok();
}

Status LayerSealer::AddFile(const std::string& path, int fd, bool has_xattrs) {
  return Add(path, fd, has_xattrs, content_.Finish());
}

Status LayerSealer::AddDirectory(const std::string& path, int fd, bool has_xattrs) {
  return Add(path, fd, has_xattrs, {});
}

Status LayerSealer::AddNode(const std::string& path, int parent, const std::string& name) {
  struct stat info {};
  if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError("stat");
  ASSIGN_OR_RETURN(const auto body,
                   snapshotter::SealBody(Context::Background(), parent, name, info));
  builder_.Add(path, info, body);
  return Ok();
}

Status LayerSealer::AddLink(const std::string& path, int parent, const std::string& name) {
  if (walk_) return Ok();
  struct stat info {};
  if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError("stat");
  auto known = linked_.find(info.st_ino);
  if (known == linked_.end()) {
    ASSIGN_OR_RETURN(const auto body,
                     snapshotter::SealBody(Context::Background(), parent, name, info));
    known = linked_.emplace(info.st_ino, body).first;
  }
  builder_.Add(path, info, known->second);
  return Ok();
}

Result<snapshotter::Seal> LayerSealer::Finish(const std::vector<std::string>& opaque) {
  snapshotter::Seal seal = builder_.seal();
  if (walk_) {
    ASSIGN_OR_RETURN(seal, snapshotter::SealTree(Context::Background(), root_));
  }
  snapshotter::SealBuilder out;
  out.AddSeal(seal);
  for (const std::string& path : opaque) out.AddOpaque(path == "." ? "" : std::string_view(path));
  return out.seal();
}

}  // namespace berth::image
