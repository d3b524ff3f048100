// A directory in which things are made apart, get their names by one rename, and go by another.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace berth::snapshotter {

// Thread-safe. Paths are relative to root_fd(); all of it is on one file system.
class Area {
 public:
  // Makes the directories "staging" and "trash" where missing, and moves what is in the first to
  // the second: nobody else uses the area.
  static Result<std::shared_ptr<Area>> Open(const std::string& root);

  int root_fd() const { return root_fd_.get(); }
  const std::string& root() const { return root_; }

  // An empty directory "staging/<name>", 0700.
  Result<std::string> NewStaging();
  // Moves it out of the way in one step; a missing one is fine. EmptyTrash() deletes it.
  Status Trash(const std::string& path);
  // Deletes all that is in the trash; one failure does not keep the rest.
  Status EmptyTrash();

 private:
  Area(std::string root, UniqueFd root_fd) : root_(std::move(root)), root_fd_(std::move(root_fd)) {}

  const std::string root_;
  const UniqueFd root_fd_;
};

}  // namespace berth::snapshotter
