#include "image/layer_fetcher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <set>

#include "base/failpoint.h"
#include "base/thread.h"

namespace berth::image {

namespace {

// Its directory, its root, its record.
constexpr uint64_t kInodesOfALayer = 3;

}  // namespace

Result<OneShotEvent> OneShotEvent::Create() {
  OneShotEvent out;
  out.event_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!out.event_.ok()) return ErrnoError("eventfd");
  return out;
}

void OneShotEvent::Signal() const {
  // It is never read, so it stays readable for everyone who waits.
  eventfd_write(event_.get(), 1);
}

Status OneShotEvent::Wait(const Context& context, std::string_view step) const {
  return context.Poll(event_.get(), POLLIN, step);
}

Result<std::unique_ptr<LayerFetcher>> LayerFetcher::Create(LayerUnpacker& unpacker,
                                                           snapshotter::Snapshotter& snapshotter,
                                                           int max_parallel) {
  UniqueFd slots(
      eventfd(static_cast<unsigned>(max_parallel), EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE));
  if (!slots.ok()) return ErrnoError("eventfd");
  return std::unique_ptr<LayerFetcher>(
      new LayerFetcher(std::move(slots), max_parallel, unpacker, snapshotter));
}

Status LayerFetcher::TakeSlot(const Context& context) {
  while (true) {
    RETURN_IF_ERROR(context.Poll(slots_.get(), POLLIN, "wait for other layers"));
    eventfd_t one = 0;
    if (eventfd_read(slots_.get(), &one) == 0) return Ok();
    if (errno != EAGAIN && errno != EINTR) return ErrnoError("eventfd");
  }
}

void LayerFetcher::ReturnSlot() {
  eventfd_write(slots_.get(), 1);
}

Status LayerFetcher::Ensure(const Context& context, const BlobSource& source, const Layer& layer,
                            const StateCallback& on_state) {
  while (true) {
    if (snapshotter_.HasLayer(layer.diff_id)) {
      on_state(LayerState::kExists, layer.blob.size);
      return Ok();
    }
    ASSIGN_OR_RETURN(auto created, OneShotEvent::Create());
    auto mine = std::make_shared<OneShotEvent>(std::move(created));
    std::shared_ptr<OneShotEvent> others;
    {
      MutexLock lock(mutex_);
      auto [it, inserted] = under_way_.emplace(layer.diff_id, mine);
      if (!inserted) others = it->second;
    }
    if (others != nullptr) {
      RETURN_IF_ERROR(others->Wait(context, "wait for the layer of another pull"));
      continue;  // it is there, or it failed and is now this call's to try
    }
    // Another call may have committed it between the look and the entry in the map.
    Status status;
    if (snapshotter_.HasLayer(layer.diff_id)) {
      on_state(LayerState::kExists, layer.blob.size);
    } else {
      status = Fetch(context, source, layer, on_state);
    }
    {
      MutexLock lock(mutex_);
      under_way_.erase(layer.diff_id);
    }
    mine->Signal();
    return status;
  }
}

Status LayerFetcher::Fetch(const Context& context, const BlobSource& source, const Layer& layer,
                           const StateCallback& on_state) {
  RETURN_IF_ERROR(TakeSlot(context));
  struct SlotReturner {
    LayerFetcher* fetcher;
    ~SlotReturner() { fetcher->ReturnSlot(); }
  } returner{this};
  while (true) {
    Status status = FetchOnce(context, source, layer, on_state);
    const bool other_bytes = status.code() == Code::kDataLoss && source.distrust;
    if (!other_bytes || !source.distrust(layer)) return status;
  }
}

Status LayerFetcher::FetchOnce(const Context& context, const BlobSource& source, const Layer& layer,
                               const StateCallback& on_state) {
  ASSIGN_OR_RETURN(Compression compression, LayerCompression(layer.blob.media_type));
  ASSIGN_OR_RETURN(auto unpack, unpacker_.Begin({.digest = layer.blob.digest,
                                                 .diff_id = layer.diff_id,
                                                 .size_bytes = layer.blob.size,
                                                 .compression = compression}));
  Failpoint("pull.layer_started");
  int64_t done = 0;
  bool worker_refused = false;
  on_state(LayerState::kDownloading, 0);
  Status streamed = source.stream(context, layer, [&](std::string_view bytes) {
    Status written = unpack.Write(context, bytes);
    worker_refused = !written.ok();
    done += static_cast<int64_t>(bytes.size());
    on_state(LayerState::kDownloading, done);
    return written;
  });
  // Why the worker takes no more is what Finish() says; a cancellation says it itself.
  if (worker_refused && context.Check("unpack").ok()) {
    RETURN_IF_ERROR(unpack.Finish(context));
  }
  RETURN_IF_ERROR(streamed);
  on_state(LayerState::kUnpacking, done);
  Failpoint("pull.layer_unpacked");
  RETURN_IF_ERROR(unpack.Finish(context));
  Failpoint("pull.layer_committed");
  on_state(LayerState::kDone, done);
  return Ok();
}

// What a layer takes unpacked nobody knows before; it is rarely less than the blob. A place for
// each layer: the need of one that is there is nothing.
Result<std::unique_ptr<Room::Reservation>> LayerFetcher::ReserveRoom(
    const std::vector<Layer>& layers) {
  const uint64_t copies = unpacker_.keeps_blobs() ? 2 : 1;
  std::vector<Room::Need> needs;
  needs.reserve(layers.size());
  std::set<std::string> missing;
  for (const Layer& layer : layers) {
    Room::Need& need = needs.emplace_back(Room::Need{layer.diff_id});
    if (snapshotter_.HasLayer(layer.diff_id)) continue;
    missing.insert(layer.diff_id);
    need.bytes = copies * static_cast<uint64_t>(std::max<int64_t>(layer.blob.size, 0));
    need.inodes = kInodesOfALayer;
  }
  return unpacker_.room().Reserve(needs, StrCat(missing.size(), " layers"));
}

Status LayerFetcher::EnsureAll(const Context& context, const BlobSource& source,
                               const std::vector<Layer>& layers, ProgressBoard& board) {
  ASSIGN_OR_RETURN(const auto reserved, ReserveRoom(layers));
  const uint64_t copies = unpacker_.keeps_blobs() ? 2 : 1;
  std::vector<LayerProgress> start;
  start.reserve(layers.size());
  for (const Layer& layer : layers) start.push_back({layer.Name(), 0, layer.blob.size});
  board.Start(std::move(start));
  // The largest first: it is the one that the others can hide behind.
  std::vector<size_t> order(layers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return layers[a].blob.size > layers[b].blob.size; });

  std::atomic<size_t> next{0};
  Mutex error_mutex;
  Status first_error;
  auto work = [&] {
    for (size_t at = next++; at < order.size(); at = next++) {
      const size_t i = order[at];
      int64_t done = 0;
      Status status = Ensure(context, source, layers[i], [&](LayerState state, int64_t bytes) {
        done = bytes;
        reserved->Written(i, copies * static_cast<uint64_t>(bytes));
        board.Set(i, state, bytes);
      });
      if (status.ok()) continue;
      board.Set(i, LayerState::kFailed, done);
      MutexLock lock(error_mutex);
      // What follows are the cancellations that the first failure causes.
      if (first_error.ok()) {
        first_error = std::move(status).error().Wrap(StrCat("layer ", i, " ", layers[i].Name()));
      }
      context.Cancel();
      return;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(static_cast<size_t>(max_parallel_), layers.size()); ++i) {
    auto thread = StartThread(work);
    if (!thread.ok()) break;  // fewer will do
    threads.push_back(std::move(*thread));
  }
  work();
  for (std::thread& thread : threads) thread.join();
  return first_error;
}

Result<uint64_t> LayerFetcher::UnpackedBytes(const std::vector<std::string>& diff_ids) {
  uint64_t bytes = 0;
  const std::set<std::string> distinct(diff_ids.begin(), diff_ids.end());
  for (const std::string& diff_id : distinct) {
    ASSIGN_OR_RETURN(auto usage, snapshotter_.LayerUsage(diff_id));
    bytes += usage.bytes;
  }
  return bytes;
}

}  // namespace berth::image
