#include "image/image_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/time.h"
#include "image/digest.h"
#include "image/image_config.h"
#include "image/reference.h"
#include "image/room.h"
#include "image/unfinished_pulls.h"
#include "snapshotter/background.h"

namespace berth::image {

namespace {

constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS images(id TEXT PRIMARY KEY, size INTEGER NOT NULL,"
    " pulled_at INTEGER NOT NULL, pinned INTEGER NOT NULL, config BLOB NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS image_names(name TEXT PRIMARY KEY, image TEXT NOT NULL"
    " REFERENCES images(id) ON DELETE CASCADE) STRICT;"
    "CREATE TABLE IF NOT EXISTS image_annotations(image TEXT NOT NULL"
    " REFERENCES images(id) ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY(image, key)) STRICT;"
    "PRAGMA foreign_keys=ON;";

constexpr size_t kMinIdPrefix = 3;
// Of the disk. Kubelet begins to remove images at 85 percent, and does not know of these layers.
constexpr int kFreePercentToKeepUnfinished = 15;

bool IsDigestName(std::string_view name) {
  return name.find('@') != std::string_view::npos;
}

void AddUnique(const std::vector<std::string>& from, std::vector<std::string>* to) {
  for (const std::string& name : from) {
    if (std::find(to->begin(), to->end(), name) == to->end()) to->push_back(name);
  }
}

// A unit of work in the database: rolled back unless committed.
class Transaction {
 public:
  static Result<Transaction> Begin(Database& db) {
    RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
    return Transaction(db);
  }
  Transaction(Transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  ~Transaction() {
    if (db_ != nullptr) (void)db_->Execute("ROLLBACK");
  }
  Status Commit() {
    RETURN_IF_ERROR(db_->Execute("COMMIT"));
    db_ = nullptr;
    return Ok();
  }

 private:
  explicit Transaction(Database& db) : db_(&db) {}
  Database* db_;
};

Status WriteImage(Database& db, const Image& image) {
  ASSIGN_OR_RETURN(auto put, db.Prepare("INSERT INTO images(id, size, pulled_at, pinned, config)"
                                        " VALUES(?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET"
                                        " size = excluded.size, pulled_at = excluded.pulled_at,"
                                        " pinned = excluded.pinned"));
  put.Bind(1, image.id)
      .Bind(2, static_cast<int64_t>(image.size_bytes))
      .Bind(3, image.pulled_at_ns)
      .Bind(4, int64_t{image.pinned})
      .BindBlob(5, image.config_json);
  RETURN_IF_ERROR(put.Execute());
  ASSIGN_OR_RETURN(auto clear, db.Prepare("DELETE FROM image_annotations WHERE image = ?"));
  RETURN_IF_ERROR(clear.Bind(1, image.id).Execute());
  ASSIGN_OR_RETURN(auto annotation,
                   db.Prepare("INSERT INTO image_annotations(image, key, value) VALUES(?, ?, ?)"));
  for (const auto& [key, value] : image.annotations) {
    RETURN_IF_ERROR(annotation.Bind(1, image.id).Bind(2, key).Bind(3, value).Execute());
  }
  ASSIGN_OR_RETURN(auto name,
                   db.Prepare("INSERT INTO image_names(name, image) VALUES(?, ?)"
                              " ON CONFLICT(name) DO UPDATE SET image = excluded.image"));
  for (const auto* names : {&image.repo_tags, &image.repo_digests}) {
    for (const std::string& text : *names) {
      RETURN_IF_ERROR(name.Bind(1, text).Bind(2, image.id).Execute());
    }
  }
  return Ok();
}

Status DeleteImage(Database& db, const std::string& id) {
  ASSIGN_OR_RETURN(auto remove, db.Prepare("DELETE FROM images WHERE id = ?"));
  return remove.Bind(1, id).Execute();
}

using ImageMap = std::map<std::string, std::shared_ptr<const Image>>;

// Images whose configuration no longer reads are left out; they can be pulled again.
Result<ImageMap> ReadImages(Database& db) {
  ASSIGN_OR_RETURN(auto select,
                   db.Prepare("SELECT id, size, pulled_at, pinned, config FROM images"));
  std::map<std::string, Image> images;
  while (true) {
    ASSIGN_OR_RETURN(bool more, select.Step());
    if (!more) break;
    Image image;
    image.id = select.Text(0);
    image.size_bytes = static_cast<uint64_t>(select.Int(1));
    image.pulled_at_ns = select.Int(2);
    image.pinned = select.Int(3) != 0;
    image.config_json = select.Blob(4);
    auto config = ParseImageConfig(image.config_json);
    if (!config.ok()) continue;
    image.config = std::move(*config);
    images[image.id] = std::move(image);
  }
  ASSIGN_OR_RETURN(auto annotations, db.Prepare("SELECT image, key, value FROM image_annotations"));
  while (true) {
    ASSIGN_OR_RETURN(bool more, annotations.Step());
    if (!more) break;
    auto image = images.find(annotations.Text(0));
    if (image == images.end()) continue;
    image->second.annotations[annotations.Text(1)] = annotations.Text(2);
  }
  ASSIGN_OR_RETURN(auto names, db.Prepare("SELECT name, image FROM image_names ORDER BY rowid"));
  while (true) {
    ASSIGN_OR_RETURN(bool more, names.Step());
    if (!more) break;
    auto image = images.find(names.Text(1));
    if (image == images.end()) continue;
    std::string name = names.Text(0);
    auto& list = IsDigestName(name) ? image->second.repo_digests : image->second.repo_tags;
    list.push_back(std::move(name));
  }
  ImageMap out;
  for (auto& [id, image] : images) out[id] = std::make_shared<const Image>(std::move(image));
  return out;
}

// Names of `owner` that belonged to another image have moved.
void TakeNames(const Image& owner, ImageMap& from) {
  auto moved = [&](const std::string& name) {
    const auto has = [&](const auto& list) {
      return std::find(list.begin(), list.end(), name) != list.end();
    };
    return has(owner.repo_tags) || has(owner.repo_digests);
  };
  for (auto& [id, other] : from) {
    if (id == owner.id) continue;
    Image rest = *other;
    if (std::erase_if(rest.repo_tags, moved) + std::erase_if(rest.repo_digests, moved) > 0) {
      other = std::make_shared<const Image>(std::move(rest));
    }
  }
}

bool HasAllLayers(snapshotter::Snapshotter& snapshotter, const Image& image) {
  return std::all_of(image.config.diff_ids.begin(), image.config.diff_ids.end(),
                     [&](const std::string& diff_id) { return snapshotter.HasLayer(diff_id); });
}

// Images that lack a layer are left out, and come by a pull.
Status AddReadOnly(const std::string& path, snapshotter::Snapshotter& snapshotter, ImageMap& to) {
  ASSIGN_OR_RETURN(auto db, Database::OpenImmutable(path));
  ASSIGN_OR_RETURN(const auto images, ReadImages(db));
  for (const auto& [id, found] : images) {
    if (!HasAllLayers(snapshotter, *found)) {
      LOG(WARNING) << path << ": image " << id << " lacks a layer";
      continue;
    }
    Image image = *found;
    image.pinned = true;
    TakeNames(image, to);
    to[id] = std::make_shared<const Image>(std::move(image));
  }
  return Ok();
}

}  // namespace

struct ImageStore::State {
  State(Database opened, snapshotter::Snapshotter& layers, std::string path)
      : database(std::move(opened)), database_path(std::move(path)), snapshotter(layers) {}

  // The image that has the name, by whatever kind of name it is.
  std::shared_ptr<const Image> FindLocked(const std::string& reference) REQUIRES(mutex);
  std::shared_ptr<const Image> ByIdLocked(const std::string& id) REQUIRES(mutex);
  std::shared_ptr<const Image> FindByPrefixLocked(std::string_view hex) REQUIRES(mutex);
  void IndexLocked() REQUIRES(mutex);
  Status ForgetLocked(ImageMap& from, const std::string& id) REQUIRES(mutex);
  ImageMap::iterator FindIncompleteLocked(const std::string& reference) REQUIRES(mutex);
  Result<std::vector<std::string>> UnfinishedLayersLocked() REQUIRES(mutex);
  void SyncSoon();

  // Taken first: a collection excludes the beginning of a hold.
  Mutex collect_mutex;
  int holds GUARDED_BY(collect_mutex) = 0;
  uint64_t generation GUARDED_BY(collect_mutex) = 0;  // counts holds that have begun
  bool collect_wanted GUARDED_BY(collect_mutex) = false;

  Mutex mutex;
  Database database GUARDED_BY(mutex);
  ImageMap images GUARDED_BY(mutex);      // by id
  ImageMap read_only GUARDED_BY(mutex);   // of other stores, by id
  ImageMap incomplete GUARDED_BY(mutex);  // those that lack a layer: nobody sees them
  std::map<std::string, std::string> names GUARDED_BY(mutex);  // tag or digest name -> id
  std::function<std::vector<std::string>()> layers_in_use GUARDED_BY(mutex);

  const std::string database_path;
  snapshotter::Snapshotter& snapshotter;
  snapshotter::Background syncer;
};

ImageStore::ImageStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageStore::~ImageStore() = default;

Result<std::unique_ptr<ImageStore>> ImageStore::Open(const std::string& database_path,
                                                     snapshotter::Snapshotter& snapshotter) {
  return Open(database_path, snapshotter, {});
}

Result<std::unique_ptr<ImageStore>> ImageStore::Open(const std::string& database_path,
                                                     snapshotter::Snapshotter& snapshotter,
                                                     const std::vector<std::string>& read_only) {
  ASSIGN_OR_RETURN(auto db, Database::Open(database_path));
  RETURN_IF_ERROR(db.Execute(kSchema), "image store ", database_path);
  RETURN_IF_ERROR(UnfinishedPulls::CreateTable(db), "image store ", database_path);
  ASSIGN_OR_RETURN(auto images, ReadImages(db), "image store ", database_path);
  ImageMap incomplete;
  for (auto it = images.begin(); it != images.end();) {
    auto here = it++;
    if (HasAllLayers(snapshotter, *here->second)) continue;
    LOG(WARNING) << "image " << here->first << " has lost a layer, and has to be pulled again";
    incomplete.insert(images.extract(here));
  }
  auto state = std::make_unique<State>(std::move(db), snapshotter, database_path);
  {
    MutexLock lock(state->mutex);
    state->images = std::move(images);
    state->incomplete = std::move(incomplete);
    // The last first: of two that have a name, the earlier one's counts.
    for (auto path = read_only.rbegin(); path != read_only.rend(); ++path) {
      RETURN_IF_ERROR(AddReadOnly(*path, snapshotter, state->read_only), "additional store ",
                      *path);
    }
    for (const auto& [id, image] : state->images) TakeNames(*image, state->read_only);
    state->IndexLocked();
  }
  return std::unique_ptr<ImageStore>(new ImageStore(std::move(state)));
}

void ImageStore::State::IndexLocked() {
  names.clear();
  for (const ImageMap* from : {&read_only, &images}) {
    for (const auto& [id, image] : *from) {
      for (const auto* list : {&image->repo_tags, &image->repo_digests}) {
        for (const std::string& name : *list) names[name] = id;
      }
    }
  }
}

std::shared_ptr<const Image> ImageStore::State::ByIdLocked(const std::string& id) {
  for (const ImageMap* from : {&images, &read_only}) {
    if (auto it = from->find(id); it != from->end()) return it->second;
  }
  return nullptr;
}

std::shared_ptr<const Image> ImageStore::State::FindByPrefixLocked(std::string_view hex) {
  if (hex.size() < kMinIdPrefix) return nullptr;
  const std::string prefix = StrCat("sha256:", hex);
  std::shared_ptr<const Image> found;
  for (const ImageMap* from : {&images, &read_only}) {
    for (auto it = from->lower_bound(prefix); it != from->end() && it->first.starts_with(prefix);
         ++it) {
      if (found != nullptr && found->id != it->first) return nullptr;
      if (found == nullptr) found = it->second;
    }
  }
  return found;
}

std::shared_ptr<const Image> ImageStore::State::FindLocked(const std::string& reference) {
  if (auto image = ByIdLocked(reference); image != nullptr) return image;
  if (auto parsed = ParseReference(reference); parsed.ok()) {
    if (auto it = names.find(parsed->ToString()); it != names.end()) return ByIdLocked(it->second);
  }
  std::string_view hex = reference;
  if (hex.starts_with("sha256:")) hex.remove_prefix(7);
  return FindByPrefixLocked(hex);
}

std::shared_ptr<const Image> ImageStore::Find(const std::string& reference) {
  MutexLock lock(state_->mutex);
  return state_->FindLocked(reference);
}

std::vector<std::shared_ptr<const Image>> ImageStore::List() {
  MutexLock lock(state_->mutex);
  std::vector<std::shared_ptr<const Image>> out;
  out.reserve(state_->images.size() + state_->read_only.size());
  for (const auto& [id, image] : state_->images) out.push_back(image);
  for (const auto& [id, image] : state_->read_only) {
    if (!state_->images.contains(id)) out.push_back(image);
  }
  return out;
}

Status ImageStore::NoteUnfinished(const Image& image) {
  RETURN_IF_ERROR(CheckDigest(image.id, "image id"));
  if (HasAllLayers(state_->snapshotter, image)) return Ok();
  MutexLock lock(state_->mutex);
  RETURN_IF_ERROR(
      UnfinishedPulls::Begin(state_->database, image.id, image.config.diff_ids, WallNs()));
  state_->SyncSoon();
  return Ok();
}

Result<size_t> ImageStore::ForgetUnfinished(const std::string& except) {
  MutexLock lock(state_->mutex);
  return UnfinishedPulls::Forget(state_->database, except);
}

Result<std::vector<std::string>> ImageStore::State::UnfinishedLayersLocked() {
  if (FreePercent(snapshotter.root()) < kFreePercentToKeepUnfinished) {
    RETURN_IF_ERROR(UnfinishedPulls::Forget(database, ""));
  }
  return UnfinishedPulls::Layers(database, WallNs());
}

Status ImageStore::Put(const Image& image) {
  RETURN_IF_ERROR(CheckDigest(image.id, "image id"));
  MutexLock lock(state_->mutex);
  Image merged = image;
  for (const ImageMap* known : {&state_->images, &state_->incomplete}) {
    auto it = known->find(image.id);
    if (it == known->end()) continue;
    merged.repo_tags = it->second->repo_tags;
    merged.repo_digests = it->second->repo_digests;
    AddUnique(image.repo_tags, &merged.repo_tags);
    AddUnique(image.repo_digests, &merged.repo_digests);
    merged.pinned = merged.pinned || it->second->pinned;
  }
  ASSIGN_OR_RETURN(auto transaction, Transaction::Begin(state_->database), "record image ",
                   image.id);
  RETURN_IF_ERROR(WriteImage(state_->database, merged), "record image ", image.id);
  RETURN_IF_ERROR(UnfinishedPulls::End(state_->database, image.id), "record image ", image.id);
  RETURN_IF_ERROR(transaction.Commit(), "record image ", image.id);
  state_->incomplete.erase(merged.id);
  TakeNames(merged, state_->images);
  TakeNames(merged, state_->incomplete);
  TakeNames(merged, state_->read_only);
  std::string id = merged.id;
  state_->images[id] = std::make_shared<const Image>(std::move(merged));
  state_->IndexLocked();
  state_->SyncSoon();
  return Ok();
}

Status ImageStore::State::ForgetLocked(ImageMap& from, const std::string& id) {
  RETURN_IF_ERROR(DeleteImage(database, id), "remove image ", id);
  from.erase(id);
  IndexLocked();
  return Ok();
}

ImageMap::iterator ImageStore::State::FindIncompleteLocked(const std::string& reference) {
  const auto parsed = ParseReference(reference);
  const std::string name = parsed.ok() ? parsed->ToString() : reference;
  return std::find_if(incomplete.begin(), incomplete.end(), [&](const auto& entry) {
    const auto has = [&](const auto& list) {
      return std::find(list.begin(), list.end(), name) != list.end();
    };
    return entry.first == reference || has(entry.second->repo_tags) ||
           has(entry.second->repo_digests);
  });
}

// What a commit has written reaches the disk by itself after half a minute, and until then a power
// loss would take the image's record, and with it the use of layers that are all there.
void ImageStore::State::SyncSoon() {
  syncer.Post([path = database_path + "-wal"] {
    const auto log = berth::Open(path, O_RDONLY | O_NOFOLLOW);
    if (log.ok()) (void)fdatasync(log->get());
  });
}

Status ImageStore::Remove(const std::string& reference) {
  {
    MutexLock lock(state_->mutex);
    if (auto image = state_->FindLocked(reference); image != nullptr) {
      if (!state_->images.contains(image->id)) {
        return Error(Code::kFailedPrecondition,
                     StrCat("image ", image->id, " is in a read-only store, and stays there"));
      }
      RETURN_IF_ERROR(state_->ForgetLocked(state_->images, image->id));
    } else if (auto lost = state_->FindIncompleteLocked(reference);
               lost != state_->incomplete.end()) {
      RETURN_IF_ERROR(state_->ForgetLocked(state_->incomplete, std::string(lost->first)));
    } else {
      return Ok();
    }
  }
  RETURN_IF_ERROR(CollectLayers());
  return Ok();
}

Result<size_t> ImageStore::ForgetIncomplete() {
  MutexLock lock(state_->mutex);
  const size_t count = state_->incomplete.size();
  while (!state_->incomplete.empty()) {
    const std::string id = state_->incomplete.begin()->first;
    RETURN_IF_ERROR(state_->ForgetLocked(state_->incomplete, id));
  }
  return count;
}

Result<std::optional<ImageStore::Collected>> ImageStore::TryCollect(
    uint64_t generation, const std::vector<std::string>& in_use) {
  MutexLock collect_lock(state_->collect_mutex);
  Collected out;
  if (state_->holds > 0) {
    state_->collect_wanted = true;
    out.postponed = true;
    return std::optional(out);
  }
  if (state_->generation != generation) return std::optional<Collected>();
  std::set<std::string> used(in_use.begin(), in_use.end());
  {
    MutexLock lock(state_->mutex);
    for (const ImageMap* images : {&state_->images, &state_->incomplete}) {
      for (const auto& [id, image] : *images) {
        used.insert(image->config.diff_ids.begin(), image->config.diff_ids.end());
      }
    }
    ASSIGN_OR_RETURN(const auto unfinished, state_->UnfinishedLayersLocked(), "collect layers");
    used.insert(unfinished.begin(), unfinished.end());
  }
  ASSIGN_OR_RETURN(auto layers, state_->snapshotter.ListLayers(), "collect layers");
  for (const std::string& layer : layers) {
    if (used.contains(layer)) continue;
    const auto usage = state_->snapshotter.LayerUsage(layer);
    RETURN_IF_ERROR(state_->snapshotter.RemoveLayer(layer), "collect layers");
    ++out.layers;
    if (usage.ok()) out.bytes += usage->bytes;
  }
  return std::optional(out);
}

Result<ImageStore::Collected> ImageStore::CollectLayers() {
  while (true) {
    uint64_t generation = 0;
    {
      MutexLock lock(state_->collect_mutex);
      generation = state_->generation;
      state_->collect_wanted = false;
    }
    // A hold that begins and ends after this look could leave a user that it has not seen: the
    // generation tells, and the look is repeated.
    ASSIGN_OR_RETURN(auto done, TryCollect(generation, LayersInUse()));
    if (done) return *done;
  }
}

Status ImageStore::Settle() {
  MutexLock lock(state_->mutex);
  for (const char* step :
       {"PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE", "VACUUM"}) {
    RETURN_IF_ERROR(state_->database.Execute(step), step);
  }
  return Ok();
}

void ImageStore::SetLayerUser(std::function<std::vector<std::string>()> layers_in_use) {
  MutexLock lock(state_->mutex);
  state_->layers_in_use = std::move(layers_in_use);
}

std::vector<std::string> ImageStore::LayersInUse() {
  std::function<std::vector<std::string>()> layers_in_use;
  {
    MutexLock lock(state_->mutex);
    layers_in_use = state_->layers_in_use;
  }
  return layers_in_use ? layers_in_use() : std::vector<std::string>();
}

void ImageStore::HoldLayers() {
  MutexLock lock(state_->collect_mutex);
  ++state_->holds;
  ++state_->generation;
}

void ImageStore::ReleaseLayers() {
  bool collect = false;
  {
    MutexLock lock(state_->collect_mutex);
    --state_->holds;
    collect = state_->holds == 0 && state_->collect_wanted;
  }
  // What it cannot remove now stays for the next collection.
  if (collect) (void)CollectLayers();
}

}  // namespace berth::image
