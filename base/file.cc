#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <vector>

namespace berth {

namespace {

Result<UniqueFd> OpenResolved(int dir, const std::string& path, int flags, mode_t mode,
                              uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  while (true) {
    int fd = static_cast<int>(syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how));
    if (fd >= 0) return UniqueFd(fd);
    // EAGAIN: a rename raced with the walk and the kernel could not prove that it stayed inside.
    if (errno != EAGAIN && errno != EINTR) return ErrnoError(StrCat("open ", Printable(path)));
  }
}

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};
using DirStream = std::unique_ptr<DIR, DirCloser>;

Result<DirStream> OpenStream(UniqueFd fd) {
  DirStream stream(fdopendir(fd.get()));
  if (!stream) return ErrnoError("fdopendir");
  (void)fd.Release();
  return stream;
}

bool IsDotName(std::string_view name) {
  return name == "." || name == "..";
}

// Empties the directory of files; the first subdirectory it meets is returned by name, or "".
Result<std::string> UnlinkFilesUntilDirectory(int dir) {
  ASSIGN_OR_RETURN(auto copy, OpenAt(dir, ".", O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(auto stream, OpenStream(std::move(copy)));
  while (const dirent* entry = readdir(stream.get())) {
    if (IsDotName(entry->d_name)) continue;
    if (unlinkat(dir, entry->d_name, 0) == 0 || errno == ENOENT) continue;
    if (errno == EISDIR) return std::string(entry->d_name);
    return ErrnoError(StrCat("unlink ", Printable(entry->d_name)));
  }
  return std::string();
}

// One directory is open at a time, so that a million nested directories need a million names and
// not a million descriptors; going back up is checked against the device and inode seen on the way
// down, because somebody may rename directories meanwhile.
class TreeRemover {
 public:
  Status Remove(int dir, const std::string& name) {
    RETURN_IF_ERROR(Push(dir, "."));
    std::string next = name;
    while (true) {
      RETURN_IF_ERROR(Descend(path_.size() == 1 ? dir : current_.get(), next));
      while (true) {
        ASSIGN_OR_RETURN(next, UnlinkFilesUntilDirectory(current_.get()));
        if (!next.empty()) break;
        RETURN_IF_ERROR(Ascend());
        if (path_.size() == 1) return Ok();
      }
    }
  }

 private:
  struct Level {
    std::string name;
    dev_t device;
    ino_t inode;
  };

  Status Push(int fd, const std::string& name) {
    struct stat info {};
    // Unlike fstat it also takes AT_FDCWD.
    if (fstatat(fd, "", &info, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
    path_.push_back({name, info.st_dev, info.st_ino});
    return Ok();
  }

  Status Descend(int parent, const std::string& name) {
    ASSIGN_OR_RETURN(auto child, OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    RETURN_IF_ERROR(Push(child.get(), name));
    current_ = std::move(child);
    // The tree's own device is that of its top, which is the second level.
    if (path_.back().device == path_[1].device) return Ok();
    return ErrnoError(EBUSY, StrCat(Printable(name), " is a mount"));
  }

  Status Ascend() {
    const Level done = std::move(path_.back());
    path_.pop_back();
    ASSIGN_OR_RETURN(auto parent, OpenAt(current_.get(), "..", O_RDONLY | O_DIRECTORY));
    struct stat above {};
    if (fstat(parent.get(), &above) != 0) return ErrnoError("stat");
    if (above.st_dev != path_.back().device || above.st_ino != path_.back().inode) {
      return Error(Code::kAborted, "it was moved while it was being removed");
    }
    if (unlinkat(parent.get(), done.name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return ErrnoError(StrCat("rmdir ", Printable(done.name)));
    }
    current_ = std::move(parent);
    return Ok();
  }

  std::vector<Level> path_;  // from the directory that holds the tree down to the current one
  UniqueFd current_;
};

}  // namespace

Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode) {
  return OpenAt(AT_FDCWD, path, flags, mode);
}

Result<UniqueFd> OpenAt(int dir, const std::string& name, int flags, mode_t mode) {
  while (true) {
    int fd = openat(dir, name.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return UniqueFd(fd);
    if (errno != EINTR) return ErrnoError(StrCat("open ", name));
  }
}

Result<UniqueFd> OpenBeneath(int dir, const std::string& path, int flags, mode_t mode) {
  return OpenResolved(dir, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

Result<UniqueFd> OpenInRoot(int dir, const std::string& path, int flags, mode_t mode) {
  return OpenResolved(dir, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

Result<UniqueFd> OpenNoSymlinks(int dir, const std::string& path, int flags, mode_t mode) {
  return OpenResolved(dir, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

Result<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  return ReadFileAt(AT_FDCWD, path, max_bytes);
}

Result<std::string> ReadFileAt(int dir, const std::string& name, size_t max_bytes) {
  ASSIGN_OR_RETURN(auto fd, OpenAt(dir, name, O_RDONLY | O_NOCTTY));
  ASSIGN_OR_RETURN(auto text, ReadToEnd(fd.get(), max_bytes), "read ", name);
  return text;
}

Status WriteFileAt(int dir, const std::string& name, std::string_view data) {
  ASSIGN_OR_RETURN(auto fd, OpenAt(dir, name, O_WRONLY));
  if (write(fd.get(), data.data(), data.size()) < 0) {
    return ErrnoError(StrCat("write ", Printable(data, 80), " to ", name));
  }
  return Ok();
}

Status WriteFile(const std::string& path, std::string_view data) {
  return WriteFileAt(AT_FDCWD, path, data);
}

Status AtomicWriteFileAt(int dir, const std::string& name, std::string_view data, mode_t mode,
                         Durability durability) {
  static std::atomic<uint64_t> counter{0};
  std::string temporary = StrCat(name, ".tmp", getpid(), "-", counter.fetch_add(1));
  ASSIGN_OR_RETURN(auto fd, OpenAt(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  Status status = WriteAll(fd.get(), data);
  if (status.ok() && fchmod(fd.get(), mode) != 0) status = ErrnoError("fchmod");
  if (status.ok() && durability == Durability::kFsync && fsync(fd.get()) != 0) {
    status = ErrnoError("fsync");
  }
  if (status.ok() && renameat(dir, temporary.c_str(), dir, name.c_str()) != 0) {
    status = ErrnoError("rename");
  }
  if (!status.ok()) {
    unlinkat(dir, temporary.c_str(), 0);
    return std::move(status).error().Wrap(StrCat("write ", name));
  }
  if (durability == Durability::kFsync) {
    ASSIGN_OR_RETURN(auto self, OpenAt(dir, ".", O_RDONLY | O_DIRECTORY));
    if (fsync(self.get()) != 0) return ErrnoError(StrCat("fsync directory of ", name));
  }
  return Ok();
}

Status MakeDirs(const std::string& path, mode_t mode) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    std::string parent = path.substr(0, at);
    if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoError(StrCat("mkdir ", parent));
    }
  }
  if (mkdir(path.c_str(), mode) != 0) {
    if (errno != EEXIST) return ErrnoError(StrCat("mkdir ", path));
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return ErrnoError(StrCat("stat ", path));
    if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, StrCat("mkdir ", path));
    return Ok();
  }
  if (chmod(path.c_str(), mode) != 0) return ErrnoError(StrCat("chmod ", path));
  return Ok();
}

Status MakeDirAt(int dir, const std::string& name, mode_t mode) {
  if (mkdirat(dir, name.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrnoError(StrCat("mkdir ", name));
  }
  return Ok();
}

Status RemoveTreeAt(int dir, const std::string& name) {
  if (unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return Ok();
  if (errno != EISDIR) return ErrnoError(StrCat("unlink ", name));
  TreeRemover remover;
  RETURN_IF_ERROR(remover.Remove(dir, name), "remove tree ", name);
  return Ok();
}

Status ForEachEntry(int dir, const std::function<Status(const std::string& name)>& visit) {
  ASSIGN_OR_RETURN(auto copy, OpenAt(dir, ".", O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(auto stream, OpenStream(std::move(copy)));
  while (const dirent* entry = readdir(stream.get())) {
    if (!IsDotName(entry->d_name)) RETURN_IF_ERROR(visit(entry->d_name));
  }
  return Ok();
}

Result<bool> Exists(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return ErrnoError(StrCat("stat ", path));
}

bool IsPlainRelativePath(std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos) return false;
  for (std::string_view part : Split(path, '/')) {
    if (part.empty() || IsDotName(part)) return false;
  }
  return true;
}

}  // namespace berth
