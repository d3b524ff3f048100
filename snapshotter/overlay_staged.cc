#include "snapshotter/overlay_staged.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::snapshotter {

OverlayStaged::~OverlayStaged() {
  if (path_.empty()) return;
  Status status = discard_(path_);
  if (!status.ok()) LOG(ERROR) << "discard layer " << hex_ << ": " << status.error().message();
}

Status OverlayStaged::MakeDirectory() {
  const std::string fs = StrCat(path_, "/fs");
  if (mkdirat(store_->root_fd(), fs.c_str(), 0755) != 0) return ErrnoError(StrCat("mkdir ", fs));
  ASSIGN_OR_RETURN(dir_, OpenAt(store_->root_fd(), fs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (fchmod(dir_.get(), 0755) != 0) return ErrnoError(StrCat("chmod ", fs));
  return Ok();
}

Status OverlayStaged::SetOpaque(const std::string& path) {
  if (path == "." || path.empty()) {
    // Overlayfs merges the roots of all layers whatever their attributes are.
    opaque_root_ = true;
    return Ok();
  }
  ASSIGN_OR_RETURN(auto fd, OpenNoSymlinks(dir_.get(), path, O_RDONLY | O_DIRECTORY),
                   "mark as opaque");
  if (fsetxattr(fd.get(), "trusted.overlay.opaque", "y", 1, 0) != 0) {
    return ErrnoError(StrCat("mark ", Printable(path), " as opaque"));
  }
  return Ok();
}

Status OverlayStaged::Commit(Usage usage) {
  LayerRecord record;
  record.usage = usage;
  record.opaque_root = opaque_root_;
  record.seal = seal_;
  RETURN_IF_ERROR(FinishBlob(&record), "commit layer");
  RETURN_IF_ERROR(store_->AddLayer(hex_, path_, std::move(record)));
  path_.clear();
  return Ok();
}

Result<int> OverlayStaged::BlobFile() {
  ASSIGN_OR_RETURN(blob_, OpenAt(store_->root_fd(), StrCat(path_, "/blob"),
                                 O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  return blob_.get();
}

// Nothing of a blob that is not a whole one.
Status OverlayStaged::FinishBlob(LayerRecord* record) {
  if (!blob_.ok()) return Ok();
  if (digest_.empty()) {
    if (unlinkat(store_->root_fd(), StrCat(path_, "/blob").c_str(), 0) == 0) return Ok();
    return ErrnoError("remove blob");
  }
  struct stat info {};
  if (fstat(blob_.get(), &info) != 0) return ErrnoError("stat blob");
  record->blob = digest_;
  record->compression = compression_;
  record->blob_bytes = static_cast<uint64_t>(info.st_size);
  return Ok();
}

}  // namespace berth::snapshotter
