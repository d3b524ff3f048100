#include "image/layer_tar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "image/archive/tar_writer.h"
#include "snapshotter/layer_xattrs.h"

namespace berth::image {

namespace {

constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kDeepest = 2000;  // unpacking allows no more

class Writer {
 public:
  Writer(const Context& context, const TarSink& sink) : context_(context), sink_(sink) {}

  Status Run(const snapshotter::LayerDirectory& layer) {
    RETURN_IF_ERROR(AddRoot(layer));
    ASSIGN_OR_RETURN(auto root, OpenAt(layer.dir.get(), ".", O_RDONLY | O_DIRECTORY));
    RETURN_IF_ERROR(Enter(std::move(root), ""));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next == level.names.size()) {
        levels_.pop_back();
        continue;
      }
      const std::string name = level.names[level.next++];
      RETURN_IF_ERROR(context_.Check("write a layer's tar"));
      const std::string path = level.path + name;
      Status added = Add(level.dir.get(), name, path);
      if (!added.ok()) return std::move(added).error().Wrap(StrCat("\"", Printable(path), "\""));
    }
    return sink_(TarEnd());
  }

 private:
  struct Level {
    UniqueFd dir;
    std::string path;  // with a slash at the end, or empty
    std::vector<std::string> names;
    size_t next = 0;
  };

  static TarHeader HeaderOf(const struct stat& info, std::string name, char type) {
    TarHeader header;
    header.name = std::move(name);
    header.type = type;
    header.mode = info.st_mode & 07777;
    header.uid = info.st_uid;
    header.gid = info.st_gid;
    header.mtime = info.st_mtim;
    return header;
  }

  Status AddMarker(const std::string& name) {
    TarHeader header;
    header.name = name;
    header.mode = 0600;
    return sink_(EncodeTarHeader(header));
  }

  // A root that the image said nothing of is as it is made, and is not spoken of here either.
  Status AddRoot(const snapshotter::LayerDirectory& layer) {
    struct stat info {};
    if (fstat(layer.dir.get(), &info) != 0) return ErrnoError("stat");
    TarHeader header = HeaderOf(info, "./", '5');
    ASSIGN_OR_RETURN(header.xattrs, snapshotter::ReadLayerXattrs(layer.dir.get()));
    const bool plain = header.mode == 0755 && header.uid == 0 && header.gid == 0;
    if (!plain || !header.xattrs.empty()) RETURN_IF_ERROR(sink_(EncodeTarHeader(header)));
    return layer.opaque_root ? AddMarker(".wh..wh..opq") : Ok();
  }

  Status Enter(UniqueFd dir, std::string path) {
    if (levels_.size() == kDeepest) return Error(Code::kResourceExhausted, "too deep");
    Level level{std::move(dir), std::move(path), {}, 0};
    RETURN_IF_ERROR(ForEachEntry(level.dir.get(), [&](const std::string& name) {
      level.names.push_back(name);
      return Ok();
    }));
    std::sort(level.names.begin(), level.names.end());
    levels_.push_back(std::move(level));
    return Ok();
  }

  Status Add(int parent, const std::string& name, const std::string& path) {
    struct stat info {};
    if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError("stat");
    if (S_ISDIR(info.st_mode)) return AddDirectory(parent, name, path, info);
    if (S_ISCHR(info.st_mode) && info.st_rdev == 0) {
      return AddMarker(StrCat(path.substr(0, path.size() - name.size()), ".wh.", name));
    }
    if (info.st_nlink > 1) {
      const auto [first, fresh] = links_.emplace(info.st_ino, path);
      if (!fresh) {
        TarHeader header = HeaderOf(info, path, '1');
        header.link = first->second;
        return sink_(EncodeTarHeader(header));
      }
    }
    if (S_ISREG(info.st_mode)) return AddFile(parent, name, path);
    return AddNode(parent, name, path, info);
  }

  Status AddDirectory(int parent, const std::string& name, const std::string& path,
                      const struct stat& info) {
    ASSIGN_OR_RETURN(auto dir, OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TarHeader header = HeaderOf(info, path + "/", '5');
    ASSIGN_OR_RETURN(header.xattrs, snapshotter::ReadLayerXattrs(dir.get()));
    RETURN_IF_ERROR(sink_(EncodeTarHeader(header)));
    if (snapshotter::IsOpaque(dir.get())) RETURN_IF_ERROR(AddMarker(path + "/.wh..wh..opq"));
    return Enter(std::move(dir), path + "/");
  }

  Status AddFile(int parent, const std::string& name, const std::string& path) {
    ASSIGN_OR_RETURN(auto file, OpenAt(parent, name, O_RDONLY | O_NOFOLLOW | O_NOATIME));
    struct stat info {};
    if (fstat(file.get(), &info) != 0) return ErrnoError("stat");
    TarHeader header = HeaderOf(info, path, '0');
    header.size = static_cast<uint64_t>(info.st_size);
    ASSIGN_OR_RETURN(header.xattrs, snapshotter::ReadLayerXattrs(file.get()));
    RETURN_IF_ERROR(sink_(EncodeTarHeader(header)));
    uint64_t left = header.size;
    piece_.resize(kPieceBytes);
    while (left > 0) {
      RETURN_IF_ERROR(context_.Check("write a layer's tar"));
      ASSIGN_OR_RETURN(const size_t n, ReadSome(file.get(), piece_.data(),
                                                std::min<uint64_t>(left, piece_.size())));
      if (n == 0) return Error(Code::kDataLoss, "it is shorter than it was");
      RETURN_IF_ERROR(sink_({piece_.data(), n}));
      left -= n;
    }
    return sink_(TarPadding(header.size));
  }

  // Symlinks, devices, fifos.
  Status AddNode(int parent, const std::string& name, const std::string& path,
                 const struct stat& info) {
    TarHeader header = HeaderOf(info, path, '0');
    if (S_ISLNK(info.st_mode)) {
      header.type = '2';
      header.link.resize(PATH_MAX);
      const ssize_t n = readlinkat(parent, name.c_str(), header.link.data(), header.link.size());
      if (n < 0) return ErrnoError("readlink");
      header.link.resize(static_cast<size_t>(n));
    } else if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
      header.type = S_ISCHR(info.st_mode) ? '3' : '4';
      header.device_major = major(info.st_rdev);
      header.device_minor = minor(info.st_rdev);
    } else if (S_ISFIFO(info.st_mode)) {
      header.type = '6';
    } else {
      return Error(Code::kDataLoss, "of a type that layers do not have");
    }
    return sink_(EncodeTarHeader(header));
  }

  const Context& context_;
  const TarSink& sink_;
  std::vector<Level> levels_;
  std::map<ino_t, std::string> links_;  // the first name of what has several
  std::string piece_;
};

}  // namespace

Status WriteLayerTar(const Context& context, const snapshotter::LayerDirectory& layer,
                     const TarSink& sink) {
  return Writer(context, sink).Run(layer);
}

}  // namespace berth::image
