#include "image/range_transfer.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "base/thread.h"
#include "image/url.h"

namespace berth::image {

namespace {

constexpr int kTries = 3;
constexpr int64_t kWaitMs = 200;  // between looks at the context

}  // namespace

int RangeSlots::Take(int wanted) {
  MutexLock lock(mutex_);
  const int taken = std::min(wanted, free_);
  if (taken < 2) return 0;
  free_ -= taken;
  return taken;
}

void RangeSlots::Return(int slots) {
  MutexLock lock(mutex_);
  free_ += slots;
}

// Chunk n, of [begin, end), is in slot n modulo the number of slots from the time that somebody
// fetches it until it has been delivered:
//
//   delivered            next             delivered + slots
//   |  being fetched or ready |  may be fetched  |  has to wait
struct RangeTransfer::Window {
  struct Slot {
    std::string bytes;
    bool ready = false;
  };

  Window(const Descriptor& of, int64_t from, int count)
      : blob(of), begin(from), slots(static_cast<size_t>(count)) {
    for (Slot& slot : slots) slot.bytes.reserve(kChunkBytes);
  }
  int64_t chunks() const {
    constexpr auto kSize = static_cast<int64_t>(kChunkBytes);
    return (blob.size - begin + kSize - 1) / kSize;
  }
  int64_t OffsetOf(int64_t chunk) const {
    return begin + chunk * static_cast<int64_t>(kChunkBytes);
  }
  size_t SizeOf(int64_t chunk) const {
    return static_cast<size_t>(
        std::min(blob.size - OffsetOf(chunk), static_cast<int64_t>(kChunkBytes)));
  }
  Slot& SlotOf(int64_t chunk) { return slots[static_cast<size_t>(chunk) % slots.size()]; }

  void Fail(Error error) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    if (failure.ok()) failure = std::move(error);
    stop = true;
    changed.NotifyAll();
  }

  const Descriptor& blob;
  const int64_t begin;
  std::vector<Slot> slots;  // each is its fetcher's until it is ready, then the deliverer's
  std::atomic<bool> stop{false};
  std::atomic<bool> no_ranges{false};
  Mutex mutex;
  CondVar changed;
  int64_t next GUARDED_BY(mutex) = 0;
  int64_t delivered GUARDED_BY(mutex) = 0;
  Status failure GUARDED_BY(mutex);
  std::string direct_url GUARDED_BY(mutex);  // where the registry redirects to
};

Status RangeTransfer::FetchOnce(Window& window, int64_t chunk) {
  std::string& bytes = window.SlotOf(chunk).bytes;
  bytes.clear();
  const int64_t first = window.OffsetOf(chunk);
  const size_t size = window.SizeOf(chunk);
  const std::string range =
      StrCat("bytes ", first, "-", first + static_cast<int64_t>(size) - 1, "/");
  HttpRequest request;
  request.url = StrCat("blobs/", window.blob.digest);
  request.headers = {
      {"Range", StrCat("bytes=", first, "-", first + static_cast<int64_t>(size) - 1)}};
  request.abandon = &window.stop;
  request.sink = [&](const HttpResponse& head, std::string_view part) -> Status {
    if (head.status != 206) {
      window.no_ranges = true;
      return Error(Code::kUnimplemented, "the server does not know ranges");
    }
    if (!head.Header("content-range").starts_with(range) || part.size() > size - bytes.size()) {
      return Error(Code::kDataLoss,
                   StrCat("the range ", Printable(head.Header("content-range"), 80),
                          " is not the one asked for"));
    }
    bytes.append(part);
    return Ok();
  };
  std::string direct;
  {
    MutexLock lock(window.mutex);
    direct = window.direct_url;
  }
  if (!direct.empty()) {
    HttpRequest again = request;
    again.url = direct;
    auto response = send_direct_(std::move(again));
    if (response.ok() && bytes.size() == size) return Ok();
    // Its signature may have expired: the registry makes another.
    bytes.clear();
    MutexLock lock(window.mutex);
    if (window.direct_url == direct) window.direct_url.clear();
  }
  ASSIGN_OR_RETURN(const HttpResponse response, send_(std::move(request)));
  if (bytes.size() != size) {
    return Error(Code::kUnavailable, StrCat("the range ", range, " was cut short"), ECONNRESET);
  }
  if (response.redirected) {
    MutexLock lock(window.mutex);
    window.direct_url = response.url;
  }
  return Ok();
}

Status RangeTransfer::Fetch(const Context& context, Window& window, int64_t chunk) {
  for (int i = 1;; ++i) {
    Status status = FetchOnce(window, chunk);
    const bool passes = status.code() == Code::kUnavailable && i < kTries && !window.stop;
    if (!passes) return status;
    RETURN_IF_ERROR(context.Check("transfer"));
  }
}

void RangeTransfer::Work(const Context& context, Window& window) {
  while (true) {
    int64_t chunk = 0;
    {
      MutexLock lock(window.mutex);
      const auto room = static_cast<int64_t>(window.slots.size());
      while (!window.stop && window.next >= window.delivered + room) {
        window.changed.Wait(window.mutex);
      }
      if (window.stop || window.next == window.chunks()) return;
      chunk = window.next++;
    }
    Status fetched = Fetch(context, window, chunk);
    if (!fetched.ok()) return window.Fail(std::move(fetched).error());
    MutexLock lock(window.mutex);
    window.SlotOf(chunk).ready = true;
    window.changed.NotifyAll();
  }
}

Status RangeTransfer::Deliver(const Context& context, BlobTransfer& transfer, Window& window) {
  for (int64_t chunk = 0; chunk < window.chunks(); ++chunk) {
    Window::Slot& slot = window.SlotOf(chunk);
    {
      MutexLock lock(window.mutex);
      while (!slot.ready) {
        if (window.stop) return window.failure;
        RETURN_IF_ERROR(context.Check("transfer"));
        window.changed.WaitMs(window.mutex, kWaitMs);
      }
      slot.ready = false;
    }
    RETURN_IF_ERROR(transfer.Take(slot.bytes));
    MutexLock lock(window.mutex);
    window.delivered = chunk + 1;
    window.changed.NotifyAll();
  }
  return Ok();
}

Result<bool> RangeTransfer::Run(const Context& context, BlobTransfer& transfer, int slots) {
  Window window(transfer.blob(), transfer.received(), slots);
  std::vector<std::thread> threads;
  for (int i = 0; i < slots; ++i) {
    auto thread = StartThread([&] { Work(context, window); });
    if (!thread.ok()) break;  // fewer will do
    threads.push_back(std::move(*thread));
  }
  Status status = threads.empty() ? Status(Error(Code::kResourceExhausted, "no thread"))
                                  : Deliver(context, transfer, window);
  {
    MutexLock lock(window.mutex);
    window.stop = true;
    window.changed.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
  if (window.no_ranges && transfer.sink_status().ok()) return false;
  RETURN_IF_ERROR(status);
  return true;
}

}  // namespace berth::image
