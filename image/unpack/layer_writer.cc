#include "image/unpack/layer_writer.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "image/unpack/limits.h"
#include "image/unpack/report.h"

namespace berth::image {

namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kWhiteoutMetaPrefix = ".wh..wh.";
constexpr std::string_view kOpaqueMarker = ".wh..wh..opq";
constexpr uint64_t kBlockBytes = 4096;
constexpr mode_t kSetIdBits = S_ISUID | S_ISGID;

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

uint64_t DiskBytes(uint64_t size) {
  return (size + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

// Only the modification time: reading will set the other again anyhow.
struct Times {
  explicit Times(timespec mtime) : values{{0, UTIME_OMIT}, mtime} {}
  timespec values[2];
};

bool IsWhiteout(const struct stat& info) {
  return S_ISCHR(info.st_mode) && info.st_rdev == 0;
}

Status SetXattrs(int fd, const std::vector<std::pair<std::string, std::string>>& xattrs) {
  for (const auto& [name, value] : xattrs) {
    if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) continue;
    // A file system without them loses comfort; without capabilities, programs fail.
    if (errno == EOPNOTSUPP && name != "security.capability") continue;
    return ErrnoError(StrCat("set extended attribute ", Printable(name, 64)));
  }
  return Ok();
}

// Creates; a name that is taken is freed once by `remove`.
template <typename Create, typename Remove>
Result<int> CreateReplacing(Create create, Remove remove, const char* what) {
  int result = create();
  if (result < 0 && errno == EEXIST) {
    RETURN_IF_ERROR(remove());
    result = create();
  }
  if (result < 0) return ErrnoError(what);
  return result;
}

}  // namespace

LayerWriter::LayerWriter(int root)
    : root_(root), parents_(root, true), link_targets_(root, false), sealer_(root) {}

Status LayerWriter::Write(const TarEntry& entry, TarReader& reader) {
  ++entries_;
  auto path = CleanPath(entry.path);
  if (!path.ok()) return std::move(path).error();
  Status written;
  if (path->empty()) {
    written = WriteRoot(entry);
  } else {
    const size_t slash = path->rfind('/');
    const bool top = slash == std::string::npos;
    const std::string_view parent = top ? "" : std::string_view(*path).substr(0, slash);
    std::string name = top ? *path : path->substr(slash + 1);
    if (StartsWith(name, kWhiteoutPrefix)) {
      written = WriteWhiteout(parent, name);
    } else {
      auto fd = parents_.Open(parent);
      written =
          fd.ok() ? Dispatch(entry, {*fd, std::move(name)}, reader) : Status(std::move(fd).error());
    }
  }
  if (written.ok()) written = CheckCount();
  if (!written.ok()) {
    return std::move(written).error().Wrap(StrCat("entry \"", Printable(entry.path), "\""));
  }
  return Ok();
}

Status LayerWriter::CheckCount() {
  if (entries_ + parents_.made().size() <= kMaxEntries) return Ok();
  return Error(Code::kResourceExhausted, StrCat("more than ", kMaxEntries, " entries"));
}

Status LayerWriter::Dispatch(const TarEntry& entry, const Place& place, TarReader& reader) {
  switch (entry.type) {
    case EntryType::kDirectory:
      return WriteDirectory(entry, place);
    case EntryType::kFile:
      return WriteFile(entry, place, reader);
    case EntryType::kHardLink:
      return WriteHardLink(entry, place);
    default:
      return WriteNode(entry, place);
  }
}

std::string LayerWriter::ResolvedPath(const std::string& name) const {
  std::string parent = parents_.ResolvedPath();
  return parent.empty() ? name : StrCat(parent, "/", name);
}

Status LayerWriter::WriteWhiteout(std::string_view parent, std::string_view name) {
  if (name == kOpaqueMarker) {
    RETURN_IF_ERROR(parents_.Open(parent));
    return MarkOpaque(parents_.ResolvedPath());
  }
  if (StartsWith(name, kWhiteoutMetaPrefix)) return Ok();
  const std::string_view hidden = name.substr(kWhiteoutPrefix.size());
  if (hidden.empty() || hidden == "." || hidden == "..") {
    return Error(Code::kInvalidArgument, "a whiteout of nothing");
  }
  ASSIGN_OR_RETURN(int fd, parents_.Open(parent));
  return HideName({fd, std::string(hidden)});
}

// A whiteout concerns the layers below only, wherever in the layer it stands: what this layer
// itself has of that name stays, and a directory of it must not show what is below.
Status LayerWriter::HideName(const Place& place) {
  if (mknodat(place.parent, place.name.c_str(), S_IFCHR, makedev(0, 0)) == 0) {
    ++inodes_;
    // A fixed time, as directories without an entry have.
    if (utimensat(place.parent, place.name.c_str(), Times({}).values, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("set time of whiteout");
    }
    return sealer_.AddNode(ResolvedPath(place.name), place.parent, place.name);
  }
  if (errno != EEXIST) return ErrnoError("make whiteout");
  struct stat info {};
  if (fstatat(place.parent, place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("stat");
  }
  return S_ISDIR(info.st_mode) ? MarkOpaque(ResolvedPath(place.name)) : Ok();
}

Status LayerWriter::MarkOpaque(std::string path) {
  if (path.empty()) path.push_back('.');
  opaque_bytes_ += path.size() + 1;
  // Leaves room for the report's other fields.
  if (opaque_bytes_ > kMaxReportBytes - 4096) {
    return Error(Code::kResourceExhausted, "too many opaque directories");
  }
  opaque_.insert(std::move(path));
  return Ok();
}

Status LayerWriter::Remove(const Place& place) {
  if (unlinkat(place.parent, place.name.c_str(), 0) != 0) {
    if (errno != EISDIR) return ErrnoError("replace");
    RETURN_IF_ERROR(RemoveTreeAt(place.parent, place.name), "replace directory");
  }
  if (inodes_ > 1) --inodes_;
  sealer_.EntryReplaced();
  parents_.Forget();
  link_targets_.Forget();
  return Ok();
}

Status LayerWriter::WriteRoot(const TarEntry& entry) {
  if (entry.type != EntryType::kDirectory) {
    return Error(Code::kInvalidArgument, "the root of the layer is not a directory");
  }
  if (fchown(root_, entry.uid, entry.gid) != 0) return ErrnoError("chown");
  if (fchmod(root_, entry.mode) != 0) return ErrnoError("chmod");
  return RecordDirectory("", entry);
}

Status LayerWriter::WriteDirectory(const TarEntry& entry, const Place& place) {
  const char* name = place.name.c_str();
  // Set-gid comes at the end: until then it would hand the group down to what is made inside.
  const mode_t mode = entry.mode & ~kSetIdBits;
  if (mkdirat(place.parent, name, mode) == 0) {
    ++inodes_;
    disk_bytes_ += kBlockBytes;
  } else {
    if (errno != EEXIST) return ErrnoError("mkdir");
    struct stat info {};
    if (fstatat(place.parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError("stat");
    if (S_ISDIR(info.st_mode)) {
      if (fchmodat(place.parent, name, mode, 0) != 0) return ErrnoError("chmod");
      const bool same_owner = info.st_uid == entry.uid && info.st_gid == entry.gid;
      if (!same_owner &&
          fchownat(place.parent, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoError("chown");
      }
      return RecordDirectory(ResolvedPath(place.name), entry);
    }
    RETURN_IF_ERROR(Remove(place));
    if (mkdirat(place.parent, name, mode) != 0) return ErrnoError("mkdir");
    ++inodes_;
    disk_bytes_ += kBlockBytes;
    if (IsWhiteout(info)) RETURN_IF_ERROR(MarkOpaque(ResolvedPath(place.name)));
  }
  if ((entry.uid != 0 || entry.gid != 0) &&
      fchownat(place.parent, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("chown");
  }
  return RecordDirectory(ResolvedPath(place.name), entry);
}

Status LayerWriter::RecordDirectory(std::string path, const TarEntry& entry) {
  directory_bytes_ += path.size() + sizeof(Directory);
  for (const auto& [name, value] : entry.xattrs) directory_bytes_ += name.size() + value.size();
  if (directory_bytes_ > kMaxDirectoryBytes) {
    return Error(Code::kResourceExhausted, "too many directories");
  }
  directories_[std::move(path)] = {entry.mode, entry.mtime, entry.xattrs};
  return Ok();
}

Status LayerWriter::WriteFile(const TarEntry& entry, const Place& place, TarReader& reader) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  ASSIGN_OR_RETURN(int created, CreateReplacing(
                                    [&] {
                                      return openat(place.parent, place.name.c_str(), kFlags,
                                                    entry.mode & ~kSetIdBits);
                                    },
                                    [&] { return Remove(place); }, "create file"));
  UniqueFd fd(created);
  ++inodes_;
  RETURN_IF_ERROR(WriteContent(fd.get(), entry, reader));
  // The order matters: writing and changing the owner take away set-id bits and capabilities.
  if ((entry.uid != 0 || entry.gid != 0) && fchown(fd.get(), entry.uid, entry.gid) != 0) {
    return ErrnoError("chown");
  }
  if ((entry.mode & kSetIdBits) != 0 && fchmod(fd.get(), entry.mode) != 0) {
    return ErrnoError("chmod");
  }
  RETURN_IF_ERROR(SetXattrs(fd.get(), entry.xattrs));
  if (futimens(fd.get(), Times(entry.mtime).values) != 0) return ErrnoError("set time");
  return sealer_.AddFile(ResolvedPath(place.name), fd.get(), !entry.xattrs.empty());
}

Status LayerWriter::WriteContent(int fd, const TarEntry& entry, TarReader& reader) {
  int64_t end = 0;
  DataBlock block;
  while (end < entry.size) {
    ASSIGN_OR_RETURN(bool more, reader.NextData(block));
    if (!more) break;
    if (block.offset < 0 || block.offset > entry.size ||
        block.bytes.size() > static_cast<uint64_t>(entry.size - block.offset)) {
      return Error(Code::kDataLoss, "content outside of the file");
    }
    sealer_.Content(block.offset, block.bytes);
    while (!block.bytes.empty()) {
      const ssize_t n = pwrite(fd, block.bytes.data(), block.bytes.size(), block.offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoError("write");
      block.bytes.remove_prefix(static_cast<size_t>(n));
      block.offset += n;
      disk_bytes_ += static_cast<uint64_t>(n);
    }
    end = block.offset;
  }
  disk_bytes_ += DiskBytes(static_cast<uint64_t>(end)) - static_cast<uint64_t>(end);
  // A hole at the end of a sparse file.
  if (end < entry.size && ftruncate(fd, entry.size) != 0) return ErrnoError("truncate");
  return Ok();
}

Status LayerWriter::WriteHardLink(const TarEntry& entry, const Place& place) {
  ASSIGN_OR_RETURN(std::string target, CleanPath(entry.link), "hard link");
  const size_t slash = target.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : target.substr(0, slash);
  const std::string name = slash == std::string::npos ? target : target.substr(slash + 1);
  if (name.empty()) return Error(Code::kInvalidArgument, "hard link to the root");
  auto dir = link_targets_.Open(parent);
  struct stat info {};
  if (!dir.ok() || fstatat(*dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return Error(Code::kInvalidArgument,
                 StrCat("hard link to \"", Printable(entry.link), "\", which is not in the layer"));
  }
  // Without AT_SYMLINK_FOLLOW: of a symlink, the symlink itself gets the second name.
  const auto link = [&] { return linkat(*dir, name.c_str(), place.parent, place.name.c_str(), 0); };
  const auto seal = [&] {
    return sealer_.AddLink(ResolvedPath(place.name), place.parent, place.name);
  };
  if (link() == 0) return seal();
  struct stat existing {};
  if (errno == EEXIST &&
      fstatat(place.parent, place.name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0) {
    if (existing.st_ino == info.st_ino) return Ok();
    RETURN_IF_ERROR(Remove(place));
    if (link() == 0) return seal();
  }
  const int failed = errno;
  return ErrnoError(failed, StrCat("hard link to \"", Printable(entry.link), "\""))
      .WithCode(failed == ENOSPC ? Code::kResourceExhausted : Code::kInvalidArgument);
}

// Symlinks, devices, fifos.
Status LayerWriter::WriteNode(const TarEntry& entry, const Place& place) {
  const char* name = place.name.c_str();
  const bool symlink = entry.type == EntryType::kSymlink;
  const auto create = [&] {
    if (symlink) return symlinkat(entry.link.c_str(), place.parent, name);
    const mode_t type = entry.type == EntryType::kFifo         ? S_IFIFO
                        : entry.type == EntryType::kCharDevice ? S_IFCHR
                                                               : S_IFBLK;
    return mknodat(place.parent, name, type | (entry.mode & ~kSetIdBits), entry.device);
  };
  if (symlink && entry.link.empty()) return Error(Code::kInvalidArgument, "symlink to nothing");
  RETURN_IF_ERROR(CreateReplacing(
      create, [&] { return Remove(place); }, symlink ? "make symlink" : "make node"));
  ++inodes_;
  if ((entry.uid != 0 || entry.gid != 0) &&
      fchownat(place.parent, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("chown");
  }
  if (utimensat(place.parent, name, Times(entry.mtime).values, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("set time");
  }
  return sealer_.AddNode(ResolvedPath(place.name), place.parent, place.name);
}

Result<LayerContent> LayerWriter::Finish() {
  for (const auto& [path, directory] : directories_) {
    RETURN_IF_ERROR(FinishDirectory(path, directory), "directory \"", Printable(path), "\"");
  }
  RETURN_IF_ERROR(FinishUnmentioned());
  LayerContent content;
  content.inodes = inodes_ + parents_.made().size();
  content.disk_bytes = disk_bytes_ + kBlockBytes * (parents_.made().size() + 1);
  for (const std::string& path : opaque_) {
    // What became of it later in the layer: only a directory can be opaque.
    if (OpenNoSymlinks(root_, path, O_PATH | O_DIRECTORY).ok()) content.opaque.push_back(path);
  }
  ASSIGN_OR_RETURN(content.seal, sealer_.Finish(content.opaque), "seal");
  return content;
}

// Directories without an entry of their own, and the root: with a fixed time, so that one layer is
// the same wherever it is unpacked.
Status LayerWriter::FinishUnmentioned() {
  const Directory plain{0755, {}, {}};
  if (!directories_.contains("")) RETURN_IF_ERROR(FinishDirectory("", plain));
  for (const std::string& path : parents_.made()) {
    if (directories_.contains(path)) continue;
    RETURN_IF_ERROR(FinishDirectory(path, plain), "directory \"", Printable(path), "\"");
  }
  return Ok();
}

Status LayerWriter::FinishDirectory(const std::string& path, const Directory& directory) {
  auto fd = OpenNoSymlinks(root_, path.empty() ? "." : path, O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) {
    const int failed = fd.error().sys_errno();
    // A later entry took its place.
    if (failed == ENOENT || failed == ENOTDIR || failed == ELOOP) return Ok();
    return std::move(fd).error();
  }
  if ((directory.mode & kSetIdBits) != 0 && fchmod(fd->get(), directory.mode) != 0) {
    return ErrnoError("chmod");
  }
  RETURN_IF_ERROR(SetXattrs(fd->get(), directory.xattrs));
  if (futimens(fd->get(), Times(directory.mtime).values) != 0) return ErrnoError("set time");
  return sealer_.AddDirectory(path, fd->get(), !directory.xattrs.empty());
}

}  // namespace berth::image
