#include "snapshotter/tree_usage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace berth::snapshotter {

namespace {

using FileId = std::pair<dev_t, ino_t>;

class Walk {
 public:
  explicit Walk(uint64_t max_inodes) : max_inodes_(max_inodes) {}

  Result<Usage> Run(int dir) {
    ASSIGN_OR_RETURN(current_, OpenAt(dir, ".", O_RDONLY | O_DIRECTORY));
    struct stat info {};
    if (fstat(current_.get(), &info) != 0) return ErrnoError("stat");
    device_ = info.st_dev;
    Count(info);
    RETURN_IF_ERROR(Enter(info.st_ino));
    while (!levels_.empty()) RETURN_IF_ERROR(Step());
    return usage_;
  }

 private:
  struct Level {
    ino_t inode;
    std::vector<std::string> todo;  // subdirectories not yet visited
  };

  void Count(const struct stat& info) {
    if (info.st_nlink > 1 && !S_ISDIR(info.st_mode) &&
        !seen_.insert({info.st_dev, info.st_ino}).second) {
      return;
    }
    usage_.bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    usage_.inodes += 1;
  }

  // Counts what is in `current_` and remembers its subdirectories.
  Status Enter(ino_t inode) {
    Level level{inode, {}};
    RETURN_IF_ERROR(ForEachEntry(current_.get(), [&](const std::string& name) -> Status {
      struct stat info {};
      if (fstatat(current_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? Ok() : ErrnoError(StrCat("stat ", Printable(name)));
      }
      if (info.st_dev != device_) return Ok();
      Count(info);
      if (usage_.inodes > max_inodes_) {
        return Error(Code::kResourceExhausted, StrCat("more than ", max_inodes_, " files"));
      }
      if (S_ISDIR(info.st_mode)) level.todo.push_back(name);
      return Ok();
    }));
    levels_.push_back(std::move(level));
    return Ok();
  }

  Status Step() {
    if (levels_.back().todo.empty()) return Leave();
    std::string name = std::move(levels_.back().todo.back());
    levels_.back().todo.pop_back();
    auto child = OpenAt(current_.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
    if (!child.ok()) {
      const int failed = child.error().sys_errno();
      return failed == ENOENT || failed == ENOTDIR || failed == ELOOP
                 ? Ok()
                 : Status(std::move(child).error());
    }
    struct stat info {};
    if (fstat(child->get(), &info) != 0) return ErrnoError("stat");
    if (info.st_dev != device_) return Ok();
    current_ = std::move(*child);
    return Enter(info.st_ino);
  }

  Status Leave() {
    levels_.pop_back();
    if (levels_.empty()) return Ok();
    ASSIGN_OR_RETURN(auto parent, OpenAt(current_.get(), "..", O_RDONLY | O_DIRECTORY));
    struct stat info {};
    if (fstat(parent.get(), &info) != 0) return ErrnoError("stat");
    if (info.st_ino != levels_.back().inode || info.st_dev != device_) {
      return Error(Code::kAborted, "directories moved while they were being counted");
    }
    current_ = std::move(parent);
    return Ok();
  }

  const uint64_t max_inodes_;
  UniqueFd current_;
  dev_t device_ = 0;
  std::vector<Level> levels_;
  std::set<FileId> seen_;
  Usage usage_;
};

}  // namespace

Result<Usage> TreeUsage(int dir, uint64_t max_inodes) {
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    auto usage = Walk(max_inodes).Run(dir);
    if (usage.ok() || usage.code() != Code::kAborted || attempt == kAttempts) return usage;
  }
}

}  // namespace berth::snapshotter
