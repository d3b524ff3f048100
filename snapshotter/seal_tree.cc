#include "snapshotter/seal_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/file.h"

namespace berth::snapshotter {

namespace {

constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kDeepest = 2000;  // unpacking allows no more

// The offset of the next data at or after `offset`; `size` if there is none.
int64_t NextData(int fd, int64_t offset, int64_t size) {
  const off_t found = lseek(fd, offset, SEEK_DATA);
  if (found >= 0) return std::min<int64_t>(found, size);
  return errno == ENXIO ? size : offset;
}

Result<Hash128> HashFile(const Context& context, int fd, const struct stat& info) {
  ContentHash hash;
  std::string piece(std::min<uint64_t>(kPieceBytes, static_cast<uint64_t>(info.st_size)), '\0');
  const bool has_holes = info.st_blocks * 512 < info.st_size;
  for (int64_t at = 0; at < info.st_size;) {
    if (has_holes) {
      at = NextData(fd, at, info.st_size);
      if (at == info.st_size) break;
      if (lseek(fd, at, SEEK_SET) < 0) return ErrnoError("seek");
    }
    RETURN_IF_ERROR(context.Check("read a layer"));
    ASSIGN_OR_RETURN(const size_t n, ReadSome(fd, piece.data(), piece.size()));
    if (n == 0) return Error(Code::kDataLoss, "it is shorter than it should be");
    (void)hash.Add(static_cast<uint64_t>(at), {piece.data(), n});
    at += static_cast<int64_t>(n);
  }
  return hash.Finish();
}

class TreeSealer {
 public:
  explicit TreeSealer(const Context& context) : context_(context) {}

  Result<Seal> Run(int root) {
    ASSIGN_OR_RETURN(auto dir, OpenAt(root, ".", O_RDONLY | O_DIRECTORY));
    RETURN_IF_ERROR(Enter(std::move(dir), ""));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.todo.empty()) {
        levels_.pop_back();
        continue;
      }
      const std::string name = std::move(level.todo.back());
      level.todo.pop_back();
      const std::string path = level.path + name;
      Status added = AddEntry(level.dir.get(), name, path);
      if (!added.ok()) return std::move(added).error().Wrap(StrCat("\"", Printable(path), "\""));
    }
    return builder_.seal();
  }

 private:
  struct Level {
    UniqueFd dir;
    std::string path;  // with a slash at the end; empty for the root
    std::vector<std::string> todo;
  };

  Status AddEntry(int parent, const std::string& name, const std::string& path) {
    struct stat info {};
    if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError("stat");
    if (S_ISDIR(info.st_mode)) {
      ASSIGN_OR_RETURN(auto dir, OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      return Enter(std::move(dir), path);
    }
    RETURN_IF_ERROR(context_.Check("read a layer"));
    ASSIGN_OR_RETURN(const SealedBody body, SealBody(context_, parent, name, info));
    builder_.Add(path, info, body);
    return Ok();
  }

  Status Enter(UniqueFd dir, const std::string& path) {
    if (levels_.size() == kDeepest) return Error(Code::kDataLoss, "directories are too deep");
    struct stat info {};
    if (fstat(dir.get(), &info) != 0) return ErrnoError("stat");
    ASSIGN_OR_RETURN(const LayerXattrs xattrs, ReadLayerXattrs(dir.get()));
    builder_.Add(path, info, {{}, HashXattrs(xattrs)});
    if (IsOpaque(dir.get())) builder_.AddOpaque(path);
    Level level{std::move(dir), path.empty() ? path : path + "/", {}};
    RETURN_IF_ERROR(ForEachEntry(level.dir.get(), [&](const std::string& name) {
      level.todo.push_back(name);
      return Ok();
    }));
    levels_.push_back(std::move(level));
    return Ok();
  }

  const Context& context_;
  SealBuilder builder_;
  std::vector<Level> levels_;
};

// What a bad disk answers.
bool IsDamage(const Error& error) {
  const int failed = error.sys_errno();
  return error.code() == Code::kDataLoss || failed == EIO || failed == EUCLEAN ||
         failed == EBADMSG || failed == ENOENT || failed == ESTALE;
}

std::string DescribeDifference(const Seal& expected, const Seal& found) {
  if (expected.entries != found.entries) {
    return StrCat("it has ", found.entries, " files and directories instead of ", expected.entries);
  }
  if (expected.bytes != found.bytes) {
    return StrCat("its files have ", found.bytes, " bytes instead of ", expected.bytes);
  }
  return "contents, owners, modes or times of its files are not as they were unpacked";
}

}  // namespace

Result<SealedBody> SealBody(const Context& context, int parent, const std::string& name,
                            const struct stat& info) {
  SealedBody body;
  if (S_ISLNK(info.st_mode)) {
    char target[PATH_MAX];
    const ssize_t n = readlinkat(parent, name.c_str(), target, sizeof target);
    if (n < 0) return ErrnoError("readlink");
    body.content = HashOf({target, static_cast<size_t>(n)});
  } else if (S_ISREG(info.st_mode)) {
    ASSIGN_OR_RETURN(auto file, OpenAt(parent, name, O_RDONLY | O_NOFOLLOW | O_NOATIME));
    ASSIGN_OR_RETURN(const LayerXattrs xattrs, ReadLayerXattrs(file.get()));
    body.xattrs = HashXattrs(xattrs);
    ASSIGN_OR_RETURN(body.content, HashFile(context, file.get(), info));
  }
  return body;
}

Result<Seal> SealTree(const Context& context, int root) {
  return TreeSealer(context).Run(root);
}

Status VerifyTree(const Context& context, int root, bool opaque_root, const Seal& expected) {
  auto found = SealTree(context, root);
  if (!found.ok()) {
    return IsDamage(found.error()) ? std::move(found).error().WithCode(Code::kDataLoss)
                                   : std::move(found).error();
  }
  SealBuilder whole;
  whole.AddSeal(*found);
  if (opaque_root) whole.AddOpaque("");
  if (expected == whole.seal()) return Ok();
  return Error(Code::kDataLoss, DescribeDifference(expected, whole.seal()));
}

}  // namespace berth::snapshotter
