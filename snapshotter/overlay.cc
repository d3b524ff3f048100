#include "snapshotter/overlay.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/file.h"
#include "snapshotter/background.h"
#include "snapshotter/layer_syncer.h"
#include "snapshotter/names.h"
#include "snapshotter/overlay_mount.h"
#include "snapshotter/overlay_staged.h"
#include "snapshotter/overlay_store.h"
#include "snapshotter/read_only_store.h"
#include "snapshotter/tree_usage.h"
#include "snapshotter/usage_cache.h"

namespace berth::snapshotter {

namespace {

constexpr size_t kMaxLayers = 500;  // the kernel's own bound (OVL_MAX_STACK)
constexpr size_t kMaxLayersFileBytes = kMaxLayers * 80;

std::string SnapshotPath(const std::string& id) {
  return StrCat("snapshots/", id);
}

Result<Usage> MeasureSnapshot(int store, const std::string& id, uint64_t max_inodes) {
  ASSIGN_OR_RETURN(auto upper, OpenAt(store, StrCat(SnapshotPath(id), "/upper"),
                                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(Usage usage, TreeUsage(upper.get(), max_inodes), "measure snapshot ", id);
  return usage;
}

class Overlay : public Snapshotter {
 public:
  using ReadOnlyStores = std::vector<std::unique_ptr<const ReadOnlyStore>>;
  struct Parts {
    std::vector<UniqueFd> locks;
    std::shared_ptr<OverlayStore> store;
    std::shared_ptr<Area> containers;  // may be the store's
    ReadOnlyStores read_only;
  };
  explicit Overlay(Parts parts)
      : locks_(std::move(parts.locks)),
        store_(std::move(parts.store)),
        containers_(std::move(parts.containers)),
        read_only_(std::move(parts.read_only)),
        usages_([shared = containers_](const std::string& id, uint64_t max_inodes) {
          return MeasureSnapshot(shared->root_fd(), id, max_inodes);
        }),
        syncer_([store = store_] { return store->MakeDurable(); }) {}

  Status Load();

  Result<std::unique_ptr<StagedLayer>> Stage(const std::string& diff_id) override;
  Status Commit(std::unique_ptr<StagedLayer> staged, Usage usage) override;
  bool HasLayer(const std::string& diff_id) override;
  Result<Usage> LayerUsage(const std::string& diff_id) override;
  Result<std::vector<std::string>> ListLayers() override;
  Result<LayerDirectory> OpenLayer(const std::string& diff_id) override;
  Result<KeptBlob> OpenBlob(const std::string& diff_id) override;
  Status VerifyLayer(const Context& context, const std::string& diff_id) override;
  std::vector<ReadOnlyLayer> ReadOnlyLayers() override;
  Status VerifyReadOnlyLayer(const Context& context, const ReadOnlyLayer& layer) override;
  Result<KeptBlob> OpenReadOnlyBlob(const ReadOnlyLayer& layer) override;
  Status ReplaceLayer(const std::string& diff_id, const std::function<Status()>& bring) override;
  Status RemoveLayer(const std::string& diff_id) override;

  Status CreateSnapshot(const std::string& id, const SnapshotOptions& options) override;
  Result<UniqueFd> Mount(const std::string& id, const MountOptions& options) override;
  Result<UniqueFd> MountLayers(const std::vector<std::string>& layers,
                               const MountOptions& options) override;
  Result<Usage> SnapshotUsage(const std::string& id) override;
  Result<MeasuredUsage> RecentUsage(const std::string& id) override;
  Result<std::vector<std::string>> ListSnapshots() override;
  Status RemoveSnapshot(const std::string& id) override;

  Status MakeDurable() override { return store_->MakeDurable(); }
  Result<Usage> LayersUsage() override;
  Result<Usage> SnapshotsUsage() override;
  const std::string& root() const override { return store_->root(); }
  const std::string& containers_root() const override { return containers_->root(); }

  // Out of the way at once, deleted in the background.
  Status Discard(const std::string& path) { return DiscardIn(*store_->area(), path); }

 private:
  using Layers = std::vector<std::string>;  // hex, the lowest first

  Status DiscardIn(Area& area, const std::string& path);
  Status LoadSnapshot(const std::string& id);
  // A layer and the store that has it: 0 is this one, others by their place in read_only_, from 1.
  struct Place {
    LayerRecord record;
    size_t store = 0;
  };
  Result<Place> FindLayer(const std::string& hex);
  Result<Place> FindReadOnly(const ReadOnlyLayer& layer, const std::string& hex);
  int RootOf(const Place& place) const {
    return place.store == 0 ? store_->root_fd() : read_only_[place.store - 1]->root_fd();
  }
  Result<Layers> CheckLayers(const std::vector<std::string>& diff_ids);
  Result<Layers> LayersOf(const std::string& id) EXCLUDES(mutex_);
  Status StageSnapshot(const std::string& staged, const Layers& layers,
                       const SnapshotOptions& options);
  Result<OverlayPlan> PlanMount(const Layers& layers, const MountOptions& options);
  Result<UniqueFd> MountPlan(OverlayPlan plan);
  Result<UniqueFd> MountOnOldKernel(OverlayPlan plan);
  Status ClearVolatileMark(const std::string& id);
  void ScheduleEmptyTrash();

  std::vector<UniqueFd>
      locks_;  // held as long as this object lives, and not by jobs that outlast it
  const std::shared_ptr<OverlayStore> store_;
  const std::shared_ptr<Area> containers_;
  const ReadOnlyStores read_only_;
  Mutex mutex_;
  std::map<std::string, Layers> snapshots_ GUARDED_BY(mutex_);
  UsageCache usages_;
  LayerSyncer syncer_;
  Background janitor_;
};

Status Overlay::Load() {
  RETURN_IF_ERROR(MakeDirAt(containers_->root_fd(), "snapshots", 0700));
  ASSIGN_OR_RETURN(auto dir, OpenAt(containers_->root_fd(), "snapshots", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(ForEachEntry(dir.get(), [&](const std::string& id) { return LoadSnapshot(id); }));
  ScheduleEmptyTrash();
  if (store_->HasUnsynced()) syncer_.Schedule();
  return Ok();
}

Status Overlay::LoadSnapshot(const std::string& id) {
  auto text =
      ReadFileAt(containers_->root_fd(), StrCat(SnapshotPath(id), "/layers"), kMaxLayersFileBytes);
  // It is written before the snapshot gets its name: a power loss only can have taken it.
  if (!text.ok() && text.code() == Code::kNotFound)
    return DiscardIn(*containers_, SnapshotPath(id));
  if (!text.ok()) return std::move(text).error().Wrap(StrCat("snapshot ", id));
  Layers layers;
  for (std::string_view line : Split(*text, '\n')) {
    if (line.empty()) continue;
    if (!IsLayerHex(line)) return DiscardIn(*containers_, SnapshotPath(id));
    layers.emplace_back(line);
  }
  MutexLock lock(mutex_);
  snapshots_[id] = std::move(layers);
  return Ok();
}

Result<std::unique_ptr<StagedLayer>> Overlay::Stage(const std::string& diff_id) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  ASSIGN_OR_RETURN(auto path, store_->area()->NewStaging(), "stage layer ", diff_id);
  auto staged = std::make_unique<OverlayStaged>(
      store_, std::move(hex), path, [this](const std::string& what) { return Discard(what); },
      syncer_.Writing());
  RETURN_IF_ERROR(staged->MakeDirectory());
  return std::unique_ptr<StagedLayer>(std::move(staged));
}

Status Overlay::Commit(std::unique_ptr<StagedLayer> staged, Usage usage) {
  Status added = static_cast<OverlayStaged&>(*staged).Commit(usage);
  if (!added.ok()) return added.code() == Code::kAlreadyExists ? Ok() : std::move(added);
  syncer_.Schedule();
  return Ok();
}

bool Overlay::HasLayer(const std::string& diff_id) {
  return LayerUsage(diff_id).ok();
}

Result<Overlay::Place> Overlay::FindLayer(const std::string& hex) {
  Place place;
  if (store_->FindLayer(hex, &place.record)) return place;
  for (const auto& store : read_only_) {
    ++place.store;
    if (const LayerRecord* record = store->FindLayer(hex); record != nullptr) {
      place.record = *record;
      return place;
    }
  }
  return Error(Code::kNotFound, StrCat("layer sha256:", hex, " is not in ", root()));
}

Result<Usage> Overlay::LayerUsage(const std::string& diff_id) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  ASSIGN_OR_RETURN(const Place place, FindLayer(hex));
  return place.record.usage;
}

Result<LayerDirectory> Overlay::OpenLayer(const std::string& diff_id) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  ASSIGN_OR_RETURN(const Place place, FindLayer(hex));
  LayerDirectory out;
  out.opaque_root = place.record.opaque_root;
  ASSIGN_OR_RETURN(out.dir, OpenAt(RootOf(place), StrCat("layers/", hex, "/fs"),
                                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return out;
}

Result<KeptBlob> Overlay::OpenBlob(const std::string& diff_id) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  ASSIGN_OR_RETURN(const Place place, FindLayer(hex));
  return OpenStoredBlob(RootOf(place), hex, place.record);
}

Result<std::vector<std::string>> Overlay::ListLayers() {
  std::vector<std::string> out;
  for (const auto& [hex, record] : store_->Layers()) out.push_back(StrCat("sha256:", hex));
  return out;
}

Status Overlay::VerifyLayer(const Context& context, const std::string& diff_id) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  LayerRecord record;
  if (!store_->FindLayer(hex, &record)) {
    return Error(Code::kNotFound, StrCat("layer ", diff_id, " is not in ", root()));
  }
  return VerifyStoredLayer(context, store_->root_fd(), hex, record);
}

std::vector<ReadOnlyLayer> Overlay::ReadOnlyLayers() {
  std::vector<ReadOnlyLayer> out;
  for (const auto& store : read_only_) {
    for (const auto& [hex, record] : store->layers()) {
      out.push_back({store->root(), StrCat("sha256:", hex)});
    }
  }
  return out;
}

Result<Overlay::Place> Overlay::FindReadOnly(const ReadOnlyLayer& layer, const std::string& hex) {
  for (size_t i = 0; i < read_only_.size(); ++i) {
    const LayerRecord* record = read_only_[i]->FindLayer(hex);
    if (read_only_[i]->root() == layer.store && record != nullptr) return Place{*record, i + 1};
  }
  return Error(Code::kNotFound, StrCat("layer ", layer.diff_id, " is not in ", layer.store));
}

Status Overlay::VerifyReadOnlyLayer(const Context& context, const ReadOnlyLayer& layer) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(layer.diff_id));
  ASSIGN_OR_RETURN(const Place place, FindReadOnly(layer, hex));
  return VerifyStoredLayer(context, RootOf(place), hex, place.record);
}

Result<KeptBlob> Overlay::OpenReadOnlyBlob(const ReadOnlyLayer& layer) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(layer.diff_id));
  ASSIGN_OR_RETURN(const Place place, FindReadOnly(layer, hex));
  return OpenStoredBlob(RootOf(place), hex, place.record);
}

Status Overlay::ReplaceLayer(const std::string& diff_id, const std::function<Status()>& bring) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  LayerRecord record;
  std::string aside;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, layers] : snapshots_) {
      if (std::find(layers.begin(), layers.end(), hex) == layers.end()) continue;
      return Error(Code::kFailedPrecondition, StrCat("container ", id, " uses layer ", diff_id));
    }
    ASSIGN_OR_RETURN(aside, store_->TakeOutLayer(hex, &record));
  }
  Status brought = bring();
  Status back = store_->PutBackLayer(hex, aside, std::move(record));
  if (back.code() == Code::kAlreadyExists) {
    back = Discard(aside);
  } else if (back.ok()) {
    syncer_.Schedule();
    back = Error(Code::kInternal, "nothing came in its place");
  }
  RETURN_IF_ERROR(brought, "replace layer ", diff_id);
  RETURN_IF_ERROR(back, "replace layer ", diff_id);
  return Ok();
}

Status Overlay::RemoveLayer(const std::string& diff_id) {
  ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
  RETURN_IF_ERROR(store_->RemoveLayer(hex));
  ScheduleEmptyTrash();
  return Ok();
}

Result<Overlay::Layers> Overlay::CheckLayers(const std::vector<std::string>& diff_ids) {
  if (diff_ids.size() > kMaxLayers) {
    return Error(Code::kInvalidArgument,
                 StrCat(diff_ids.size(), " layers; at most ", kMaxLayers, " are possible"));
  }
  Layers layers;
  for (const std::string& diff_id : diff_ids) {
    RETURN_IF_ERROR(LayerUsage(diff_id));
    ASSIGN_OR_RETURN(auto hex, LayerHex(diff_id));
    layers.push_back(std::move(hex));
  }
  return layers;
}

Status Overlay::StageSnapshot(const std::string& staged, const Layers& layers,
                              const SnapshotOptions& options) {
  ASSIGN_OR_RETURN(auto dir, OpenAt(containers_->root_fd(), staged, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(MakeDirAt(dir.get(), "upper", 0755));
  // The mode and the owner of the upper directory are those of the container's "/".
  if (fchmodat(dir.get(), "upper", 0755, 0) != 0) return ErrnoError("chmod upper");
  if (fchownat(dir.get(), "upper", options.uid, options.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("chown upper");
  }
  RETURN_IF_ERROR(MakeDirAt(dir.get(), "work", 0700));
  ASSIGN_OR_RETURN(auto file, OpenAt(dir.get(), "layers", O_WRONLY | O_CREAT | O_EXCL, 0600));
  std::string text;
  for (const std::string& hex : layers) text += hex + "\n";
  return WriteAll(file.get(), text);
}

Status Overlay::CreateSnapshot(const std::string& id, const SnapshotOptions& options) {
  RETURN_IF_ERROR(CheckSnapshotId(id));
  ASSIGN_OR_RETURN(auto layers, CheckLayers(options.layers), "create snapshot ", id);
  ASSIGN_OR_RETURN(auto staged, containers_->NewStaging(), "create snapshot ", id);
  Status made = StageSnapshot(staged, layers, options);
  bool same = false;
  if (made.ok()) {
    MutexLock lock(mutex_);
    if (auto found = snapshots_.find(id); found != snapshots_.end()) {
      same = found->second == layers;
      made = Error(Code::kAlreadyExists, "it exists, with other layers");
    } else if (renameat2(containers_->root_fd(), staged.c_str(), containers_->root_fd(),
                         SnapshotPath(id).c_str(), RENAME_NOREPLACE) != 0) {
      made = ErrnoError("rename");
    } else {
      snapshots_[id] = std::move(layers);
    }
  }
  if (made.ok()) return made;
  RETURN_IF_ERROR(DiscardIn(*containers_, staged), "create snapshot ", id);
  if (same) return Ok();
  return std::move(made).error().Wrap(StrCat("create snapshot ", id));
}

Result<Overlay::Layers> Overlay::LayersOf(const std::string& id) {
  RETURN_IF_ERROR(CheckSnapshotId(id));
  MutexLock lock(mutex_);
  const auto found = snapshots_.find(id);
  if (found == snapshots_.end()) {
    return Error(Code::kNotFound, StrCat("snapshot ", id, " is not in ", containers_->root()));
  }
  return found->second;
}

// Without an upper directory.
Result<OverlayPlan> Overlay::PlanMount(const Layers& layers, const MountOptions& options) {
  OverlayPlan plan;
  plan.stores.push_back({store_->root_fd(), root()});
  plan.writable = {containers_->root_fd(), containers_->root()};
  for (const auto& store : read_only_) plan.stores.push_back({store->root_fd(), store->root()});
  plan.user_namespace = options.user_namespace;
  plan.selinux_context = options.selinux_context;
  for (auto hex = layers.rbegin(); hex != layers.rend(); ++hex) {
    ASSIGN_OR_RETURN(const Place place, FindLayer(*hex));
    plan.lower.push_back({place.store, StrCat("layers/", *hex, "/fs")});
    if (place.record.opaque_root) break;
  }
  // Overlayfs wants a lower directory, and two where there is no upper one.
  const size_t wanted = options.read_only ? 2 : 1;
  for (size_t i = 0; plan.lower.size() < wanted; ++i)
    plan.lower.push_back({0, StrCat("empty/", i)});
  return plan;
}

Status Overlay::ClearVolatileMark(const std::string& id) {
  // The kernel leaves it for the administrator to decide whether an upper directory that was
  // mounted `volatile` can be used again. It can: what a power loss may have taken from a writable
  // layer is stated in overlay.h, and a running system has lost nothing.
  auto work = OpenAt(containers_->root_fd(), StrCat(SnapshotPath(id), "/work/work"),
                     O_RDONLY | O_DIRECTORY);
  if (!work.ok()) return work.code() == Code::kNotFound ? Ok() : Status(std::move(work).error());
  return RemoveTreeAt(work->get(), "incompat");
}

Result<UniqueFd> Overlay::Mount(const std::string& id, const MountOptions& options) {
  const std::string what = StrCat("mount snapshot ", id);
  ASSIGN_OR_RETURN(Layers layers, LayersOf(id));
  ASSIGN_OR_RETURN(auto plan, PlanMount(layers, options), what);
  if (!options.read_only) {
    plan.upper = StrCat(SnapshotPath(id), "/upper");
    plan.work = StrCat(SnapshotPath(id), "/work");
    RETURN_IF_ERROR(ClearVolatileMark(id), what);
  }
  ASSIGN_OR_RETURN(auto mounted, MountPlan(std::move(plan)), what);
  return mounted;
}

Result<UniqueFd> Overlay::MountLayers(const std::vector<std::string>& layers,
                                      const MountOptions& options) {
  ASSIGN_OR_RETURN(Layers known, CheckLayers(layers), "mount layers");
  MountOptions read_only = options;
  read_only.read_only = true;
  ASSIGN_OR_RETURN(auto plan, PlanMount(known, read_only), "mount layers");
  ASSIGN_OR_RETURN(auto mounted, MountPlan(std::move(plan)), "mount layers");
  return mounted;
}

Result<UniqueFd> Overlay::MountPlan(OverlayPlan plan) {
  auto mounted = MountOverlay(plan);
  if (mounted.ok() || mounted.code() != Code::kUnimplemented) return mounted;
  return MountOnOldKernel(std::move(plan));
}

Result<UniqueFd> Overlay::MountOnOldKernel(OverlayPlan plan) {
  ASSIGN_OR_RETURN(plan.scratch, store_->area()->NewStaging());
  auto mounted = MountOverlayByData(plan);
  RETURN_IF_ERROR(Discard(plan.scratch));
  return mounted;
}

Result<Usage> Overlay::SnapshotUsage(const std::string& id) {
  RETURN_IF_ERROR(LayersOf(id));
  return usages_.Measure(id);
}

Result<MeasuredUsage> Overlay::RecentUsage(const std::string& id) {
  RETURN_IF_ERROR(LayersOf(id));
  return usages_.Recent(id);
}

Result<std::vector<std::string>> Overlay::ListSnapshots() {
  MutexLock lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [id, layers] : snapshots_) out.push_back(id);
  return out;
}

Status Overlay::RemoveSnapshot(const std::string& id) {
  RETURN_IF_ERROR(CheckSnapshotId(id));
  {
    MutexLock lock(mutex_);
    RETURN_IF_ERROR(containers_->Trash(SnapshotPath(id)));
    if (snapshots_.erase(id) == 0) return Ok();
  }
  usages_.Forget(id);
  ScheduleEmptyTrash();
  return Ok();
}

Result<Usage> Overlay::LayersUsage() {
  Usage total;
  for (const auto& [hex, record] : store_->Layers()) {
    total.bytes += record.usage.bytes + record.blob_bytes;
    total.inodes += record.usage.inodes;
  }
  return total;
}

Result<Usage> Overlay::SnapshotsUsage() {
  Usage total;
  ASSIGN_OR_RETURN(auto ids, ListSnapshots());
  for (const std::string& id : ids) {
    auto recent = RecentUsage(id);
    // It has gone meanwhile, or nobody knows yet.
    if (recent.code() == Code::kNotFound || recent.code() == Code::kUnavailable) continue;
    if (!recent.ok()) return std::move(recent).error();
    total.bytes += recent->usage.bytes;
    total.inodes += recent->usage.inodes;
  }
  return total;
}

Status Overlay::DiscardIn(Area& area, const std::string& path) {
  RETURN_IF_ERROR(area.Trash(path));
  ScheduleEmptyTrash();
  return Ok();
}

void Overlay::ScheduleEmptyTrash() {
  janitor_.Post([layers = store_->area(), containers = containers_] {
    for (Area* area : {layers.get(), containers.get()}) {
      Status status = area->EmptyTrash();
      if (!status.ok()) LOG(WARNING) << "layer store: " << status.error().message();
    }
  });
}

// Held as long as the descriptor is open.
Result<UniqueFd> LockRoot(const std::string& root) {
  RETURN_IF_ERROR(MakeDirs(root, 0700));
  ASSIGN_OR_RETURN(auto lock, Open(StrCat(root, "/lock"), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  return errno == EWOULDBLOCK ? Error(Code::kFailedPrecondition,
                                      StrCat("layer store ", root, " is in use by another process"))
                              : ErrnoError(StrCat("lock layer store ", root));
}

// Writable layers that are still where they would no longer be looked for.
Status CheckMoved(const OverlayStore& store, const std::string& containers_root) {
  auto dir = OpenAt(store.root_fd(), "snapshots", O_RDONLY | O_DIRECTORY);
  if (dir.code() == Code::kNotFound) return Ok();
  if (!dir.ok()) return std::move(dir).error();
  return ForEachEntry(dir->get(), [&](const std::string& id) -> Status {
    return Error(Code::kFailedPrecondition,
                 StrCat("containers are to be in ", containers_root, ", but ", store.root(),
                        "/snapshots has ", Printable(id), ": remove all pods first"));
  });
}

}  // namespace

Result<std::unique_ptr<Snapshotter>> OpenOverlay(const std::string& root) {
  return OpenOverlay(root, OverlayOptions());
}

Result<std::unique_ptr<Snapshotter>> OpenOverlay(const std::string& root,
                                                 const OverlayOptions& options) {
  Overlay::Parts parts;
  ASSIGN_OR_RETURN(auto lock, LockRoot(root), "open layer store");
  parts.locks.push_back(std::move(lock));
  ASSIGN_OR_RETURN(parts.store, OverlayStore::Open(root), "open layer store");
  parts.containers = parts.store->area();
  if (!options.containers_root.empty()) {
    RETURN_IF_ERROR(CheckMoved(*parts.store, options.containers_root), "open layer store");
    ASSIGN_OR_RETURN(lock, LockRoot(options.containers_root), "open containers' store");
    parts.locks.push_back(std::move(lock));
    ASSIGN_OR_RETURN(parts.containers, Area::Open(options.containers_root),
                     "open containers' store");
  }
  for (const std::string& directory : options.read_only) {
    ASSIGN_OR_RETURN(auto other, ReadOnlyStore::Open(directory), "open additional store");
    parts.read_only.push_back(std::move(other));
  }
  auto overlay = std::make_unique<Overlay>(std::move(parts));
  RETURN_IF_ERROR(overlay->Load(), "open layer store");
  return std::unique_ptr<Snapshotter>(std::move(overlay));
}

}  // namespace berth::snapshotter
