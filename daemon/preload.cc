#include "daemon/preload.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/image_setup.h"
#include "daemon/instance_lock.h"
#include "image/archive/archive_file.h"
#include "image/importer.h"
#include "image/puller.h"
#include "snapshotter/overlay.h"

namespace berth::daemon {

namespace {

// Gives the store's own files and directories the time: what is in layers has that of the image,
// and snapshots are containers'.
Status SetTimes(int dir, const std::string& name, int64_t time_ns, int depth) {
  constexpr int kDeepest = 3;  // overlay/layers/HEX/meta
  ASSIGN_OR_RETURN(auto fd, OpenAt(dir, name, O_PATH | O_NOFOLLOW));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoError("stat");
  if (S_ISDIR(info.st_mode) && depth <= kDeepest && name != "snapshots") {
    ASSIGN_OR_RETURN(auto here, OpenAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    RETURN_IF_ERROR(ForEachEntry(here.get(), [&](const std::string& entry) {
      return entry == "fs" ? Ok() : SetTimes(here.get(), entry, time_ns, depth + 1);
    }));
  }
  const timespec time{time_ns / 1'000'000'000, time_ns % 1'000'000'000};
  const timespec times[2] = {time, time};
  if (utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoError("set time");
  return Ok();
}

// What only a running process needs, and what tells of this one.
Status Tidy(const std::string& root, int64_t time_ns) {
  ASSIGN_OR_RETURN(auto dir, Open(root, O_RDONLY | O_DIRECTORY));
  for (const char* name : {"lock", "overlay/lock"}) {
    if (unlinkat(dir.get(), name, 0) != 0 && errno != ENOENT) return ErrnoError(name);
  }
  return SetTimes(dir.get(), ".", time_ns, 0);
}

class Preloader {
 public:
  static Result<std::unique_ptr<Preloader>> Open(const config::Config& config, int64_t time_ns) {
    std::unique_ptr<Preloader> out(new Preloader(time_ns));
    RETURN_IF_ERROR(MakeDirs(config.root, 0700), "root");
    ASSIGN_OR_RETURN(out->lock_, LockDirectory(config.root), "root");
    ASSIGN_OR_RETURN(out->snapshotter_, snapshotter::OpenOverlay(config.root + "/overlay"));
    ASSIGN_OR_RETURN(out->images_,
                     image::ImageStore::Open(config.root + "/meta.db", *out->snapshotter_));
    ASSIGN_OR_RETURN(std::string worker,
                     FindHelper(config.runtime.unpack_path, "berth-unpack", "runtime.unpack_path"));
    out->unpacker_ = std::make_unique<image::LayerUnpacker>(
        std::move(worker), *out->snapshotter_, image::PullCgroup(), config.image.keep_layer_blobs);
    out->puller_ = std::make_unique<image::Puller>(PullerOptionsOf(config.image), *out->unpacker_,
                                                   *out->snapshotter_, *out->images_);
    ASSIGN_OR_RETURN(out->importer_,
                     image::Importer::Create(*out->unpacker_, *out->snapshotter_, *out->images_,
                                             config.image.max_parallel_layers));
    return out;
  }

  Status Import(const std::string& path, const std::string& base_name) {
    ASSIGN_OR_RETURN(auto archive, image::OpenArchive(path));
    ASSIGN_OR_RETURN(const Context context, Context::Cancellable());
    ASSIGN_OR_RETURN(const auto images,
                     importer_->Import(context, *archive, {path, base_name, time_ns_, {}}));
    for (const auto& image : images) Note(*image);
    return Ok();
  }

  Status Pull(const std::string& reference) {
    ASSIGN_OR_RETURN(const auto pulled, puller_->Pull(Context::Background(), {reference, {}, {}}));
    image::Image image = *pulled;
    image.pulled_at_ns = time_ns_;
    RETURN_IF_ERROR(images_->Put(image));
    Note(image);
    return Ok();
  }

  // Whatever happened before: what is there is whole, and reaches the disk.
  Status Settle() {
    RETURN_IF_ERROR(snapshotter_->MakeDurable());
    return images_->Settle();
  }

  std::string TakeText() { return std::move(text_); }

 private:
  explicit Preloader(int64_t time_ns) : time_ns_(time_ns) {}
  void Note(const image::Image& image) {
    text_ += image.id;
    for (const std::string& tag : image.repo_tags) text_ += " " + tag;
    text_ += "\n";
  }

  const int64_t time_ns_;
  UniqueFd lock_;
  std::unique_ptr<snapshotter::Snapshotter> snapshotter_;
  std::unique_ptr<image::ImageStore> images_;
  std::unique_ptr<image::LayerUnpacker> unpacker_;
  std::unique_ptr<image::Puller> puller_;
  std::unique_ptr<image::Importer> importer_;
  std::string text_;
};

Status LoadAll(Preloader& preloader, const PreloadRequest& request) {
  for (const std::string& archive : request.archives) {
    RETURN_IF_ERROR(preloader.Import(archive, request.base_name));
  }
  for (const std::string& reference : request.references) {
    RETURN_IF_ERROR(preloader.Pull(reference));
  }
  return Ok();
}

}  // namespace

Result<std::string> Preload(const config::Config& config, const PreloadRequest& request) {
  ASSIGN_OR_RETURN(auto preloader, Preloader::Open(config, request.time_ns), "preload");
  Status loaded = LoadAll(*preloader, request);
  Status settled = preloader->Settle();
  RETURN_IF_ERROR(loaded, "preload");
  RETURN_IF_ERROR(settled, "preload");
  std::string text = preloader->TakeText();
  // Its background threads end, and with them whatever they still change.
  preloader.reset();
  RETURN_IF_ERROR(Tidy(config.root, request.time_ns), "preload: ", config.root);
  return text;
}

}  // namespace berth::daemon
