#include "snapshotter/area.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::snapshotter {

namespace {

// `tries`: a worker of a daemon that was killed may still be writing into what it left.
Status RemoveTrashed(int trash, const std::string& name) {
  constexpr int kTries = 3;
  Status status;
  for (int i = 0; i < kTries; ++i) {
    status = RemoveTreeAt(trash, name);
    if (status.ok() || status.error().sys_errno() != ENOTEMPTY) break;
    usleep(100'000);
  }
  return status;
}

}  // namespace

Result<std::shared_ptr<Area>> Area::Open(const std::string& root) {
  RETURN_IF_ERROR(MakeDirs(root, 0700));
  ASSIGN_OR_RETURN(auto root_fd, berth::Open(root, O_RDONLY | O_DIRECTORY));
  std::shared_ptr<Area> area(new Area(root, std::move(root_fd)));
  for (const char* name : {"staging", "trash"}) {
    RETURN_IF_ERROR(MakeDirAt(area->root_fd(), name, 0700));
  }
  ASSIGN_OR_RETURN(auto staging, OpenAt(area->root_fd(), "staging", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(ForEachEntry(staging.get(), [&](const std::string& name) {
    return area->Trash(StrCat("staging/", name));
  }));
  return area;
}

Result<std::string> Area::NewStaging() {
  std::string path = StrCat("staging/", NewId().substr(0, 16));
  if (mkdirat(root_fd(), path.c_str(), 0700) != 0) return ErrnoError(StrCat("mkdir ", path));
  return path;
}

Status Area::Trash(const std::string& path) {
  const std::string target = StrCat("trash/", NewId().substr(0, 16));
  if (renameat(root_fd(), path.c_str(), root_fd(), target.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(StrCat("remove ", path));
  }
  return Ok();
}

Status Area::EmptyTrash() {
  ASSIGN_OR_RETURN(auto trash, OpenAt(root_fd(), "trash", O_RDONLY | O_DIRECTORY));
  Status first;
  RETURN_IF_ERROR(ForEachEntry(trash.get(), [&](const std::string& name) {
    Status removed = RemoveTrashed(trash.get(), name);
    if (!removed.ok() && first.ok()) first = std::move(removed);
    return Ok();
  }));
  return first;
}

}  // namespace berth::snapshotter
