#include "snapshotter/overlay_store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshotter/names.h"
#include "snapshotter/seal_tree.h"

namespace berth::snapshotter {

namespace {

constexpr size_t kMaxMetaBytes = 4096;

}  // namespace

std::string FormatLayerRecord(const LayerRecord& record) {
  return StrCat(
      "boot=", record.boot, "\nbytes=", record.usage.bytes, "\ninodes=", record.usage.inodes,
      "\nopaque_root=", static_cast<int>(record.opaque_root),
      record.blob.empty() ? ""
                          : StrCat("\nblob=", record.blob, "\ncompression=", record.compression,
                                   "\nblob_bytes=", record.blob_bytes),
      record.seal ? StrCat("\nseal=", FormatSeal(*record.seal)) : "", "\n");
}

Result<LayerRecord> ParseLayerRecord(std::string_view text) {
  std::map<std::string_view, std::string_view> fields;
  for (std::string_view line : Split(text, '\n')) {
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos) fields[line.substr(0, equals)] = line.substr(equals + 1);
  }
  LayerRecord record;
  record.boot = std::string(fields["boot"]);
  const auto bytes = ParseNumber<uint64_t>(fields["bytes"]);
  const auto inodes = ParseNumber<uint64_t>(fields["inodes"]);
  if (record.boot.empty() || !bytes || !inodes) {
    return Error(Code::kDataLoss, "incomplete layer record");
  }
  record.usage = {*bytes, *inodes};
  record.opaque_root = fields["opaque_root"] == "1";
  record.blob = std::string(fields["blob"]);
  record.compression = std::string(fields["compression"]);
  record.blob_bytes = ParseNumber<uint64_t>(fields["blob_bytes"]).value_or(0);
  if (!fields["seal"].empty()) {
    ASSIGN_OR_RETURN(record.seal, ParseSeal(fields["seal"]), "layer record");
  }
  return record;
}

Result<LayerRecord> ReadLayerRecord(int dir, const std::string& path) {
  auto text = ReadFileAt(dir, StrCat(path, "/meta"), kMaxMetaBytes);
  if (text.code() == Code::kResourceExhausted) return Error(Code::kDataLoss, "record is too long");
  if (!text.ok()) return std::move(text).error();
  return ParseLayerRecord(*text);
}

Status VerifyStoredLayer(const Context& context, int root, const std::string& hex,
                         const LayerRecord& record) {
  if (!record.seal) return Error(Code::kFailedPrecondition, "it has no seal");
  const auto dir = OpenAt(root, StrCat("layers/", hex, "/fs"), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (dir.code() == Code::kNotFound) return Error(Code::kDataLoss, "its files are missing");
  if (!dir.ok()) return dir.error();
  return VerifyTree(context, dir->get(), record.opaque_root, *record.seal);
}

Result<KeptBlob> OpenStoredBlob(int root, const std::string& hex, const LayerRecord& record) {
  if (record.blob.empty()) {
    return Error(Code::kNotFound, StrCat("the blob of layer sha256:", hex, " was not kept"));
  }
  KeptBlob out;
  out.digest = record.blob;
  out.compression = record.compression;
  out.size_bytes = record.blob_bytes;
  auto file = OpenAt(root, StrCat("layers/", hex, "/blob"), O_RDONLY | O_NOFOLLOW);
  if (file.code() == Code::kNotFound) return Error(Code::kDataLoss, "its kept blob is missing");
  if (!file.ok()) return std::move(file).error();
  out.file = std::move(*file);
  return out;
}

Result<std::shared_ptr<OverlayStore>> OverlayStore::Open(const std::string& root) {
  ASSIGN_OR_RETURN(auto area, Area::Open(root));
  ASSIGN_OR_RETURN(auto boot, ReadFile("/proc/sys/kernel/random/boot_id", 128));
  std::shared_ptr<OverlayStore> store(new OverlayStore(std::move(area), std::string(Trim(boot))));
  RETURN_IF_ERROR(store->MakeDirectories());
  RETURN_IF_ERROR(store->LoadLayers());
  return store;
}

Status OverlayStore::MakeDirectories() {
  for (const char* name : {"layers", "empty"}) {
    RETURN_IF_ERROR(MakeDirAt(root_fd(), name, 0700));
  }
  for (const char* name : {"empty/0", "empty/1"}) {
    RETURN_IF_ERROR(MakeDirAt(root_fd(), name, 0755));
    // One is the root directory of a container without layers: whatever the umask is.
    if (fchmodat(root_fd(), name, 0755, 0) != 0) return ErrnoError(StrCat("chmod ", name));
  }
  return Ok();
}

Status OverlayStore::LoadLayers() {
  ASSIGN_OR_RETURN(auto layers, OpenAt(root_fd(), "layers", O_RDONLY | O_DIRECTORY));
  return ForEachEntry(layers.get(), [&](const std::string& name) {
    return IsLayerHex(name) ? LoadLayer(name) : Ok();
  });
}

Status OverlayStore::LoadLayer(const std::string& hex) {
  auto record = ReadLayerRecord(root_fd(), StrCat("layers/", hex));
  const bool incomplete = record.code() == Code::kNotFound || record.code() == Code::kDataLoss;
  if (!record.ok() && !incomplete) return std::move(record).error().Wrap(StrCat("layer ", hex));
  if (incomplete || (record->boot != kDurable && record->boot != boot_)) {
    return area_->Trash(StrCat("layers/", hex));
  }
  MutexLock lock(mutex_);
  record->generation = next_generation_++;
  layers_[hex] = std::move(*record);
  return Ok();
}

Status OverlayStore::AddLayer(const std::string& hex, const std::string& staged,
                              LayerRecord record) {
  record.boot = boot_;
  ASSIGN_OR_RETURN(auto meta,
                   OpenAt(root_fd(), StrCat(staged, "/meta"), O_WRONLY | O_CREAT | O_EXCL, 0600));
  RETURN_IF_ERROR(WriteAll(meta.get(), FormatLayerRecord(record)), "write layer record");
  return PutBackLayer(hex, staged, std::move(record));
}

Result<std::string> OverlayStore::TakeOutLayer(const std::string& hex, LayerRecord* record) {
  std::string staged = StrCat("staging/", NewId().substr(0, 16));
  MutexLock lock(mutex_);
  const auto found = layers_.find(hex);
  if (found == layers_.end()) {
    return Error(Code::kNotFound, StrCat("layer sha256:", hex, " is not in ", root()));
  }
  const std::string path = StrCat("layers/", hex);
  if (renameat(root_fd(), path.c_str(), root_fd(), staged.c_str()) != 0) {
    return ErrnoError(StrCat("take out layer ", hex));
  }
  *record = std::move(found->second);
  layers_.erase(found);
  return staged;
}

Status OverlayStore::PutBackLayer(const std::string& hex, const std::string& staged,
                                  LayerRecord record) {
  const std::string path = StrCat("layers/", hex);
  // Held across the rename, so that memory and disk change together.
  MutexLock lock(mutex_);
  if (renameat2(root_fd(), staged.c_str(), root_fd(), path.c_str(), RENAME_NOREPLACE) != 0) {
    return ErrnoError(StrCat("commit layer ", hex));
  }
  record.generation = next_generation_++;
  layers_[hex] = std::move(record);
  return Ok();
}

bool OverlayStore::FindLayer(const std::string& hex, LayerRecord* record) {
  MutexLock lock(mutex_);
  const auto found = layers_.find(hex);
  if (found == layers_.end()) return false;
  *record = found->second;
  return true;
}

std::map<std::string, LayerRecord> OverlayStore::Layers() {
  MutexLock lock(mutex_);
  return layers_;
}

Status OverlayStore::RemoveLayer(const std::string& hex) {
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(area_->Trash(StrCat("layers/", hex)));
  layers_.erase(hex);
  return Ok();
}

bool OverlayStore::HasUnsynced() {
  MutexLock lock(mutex_);
  for (const auto& [hex, record] : layers_) {
    if (record.boot != kDurable) return true;
  }
  return false;
}

Status OverlayStore::MakeDurable() {
  std::map<std::string, LayerRecord> unsynced = Layers();
  std::erase_if(unsynced, [](const auto& layer) { return layer.second.boot == kDurable; });
  if (unsynced.empty()) return Ok();
  if (syncfs(root_fd()) != 0) return ErrnoError(StrCat("syncfs ", root()));
  for (auto& [hex, record] : unsynced) {
    UniqueFd dir;
    {
      // The layer may have been removed, and even committed anew, since: that one is not synced.
      MutexLock lock(mutex_);
      const auto found = layers_.find(hex);
      if (found == layers_.end() || found->second.generation != record.generation) continue;
      ASSIGN_OR_RETURN(dir, OpenAt(root_fd(), StrCat("layers/", hex), O_RDONLY | O_DIRECTORY));
    }
    record.boot = kDurable;
    RETURN_IF_ERROR(
        AtomicWriteFileAt(dir.get(), "meta", FormatLayerRecord(record), 0600, Durability::kFsync),
        "mark layer ", hex, " as durable");
    MutexLock lock(mutex_);
    const auto found = layers_.find(hex);
    if (found != layers_.end() && found->second.generation == record.generation) {
      found->second.boot = kDurable;
    }
  }
  return Ok();
}

}  // namespace berth::snapshotter
