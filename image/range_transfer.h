// One large blob over several connections: the next megabytes are asked for at the same time, and
// given on in order.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/context.h"
#include "base/result.h"
#include "base/sync.h"
#include "image/blob_transfer.h"
#include "image/http_client.h"

namespace berth::image {

// How many chunks may be in memory at a time, of all transfers that share it. Thread-safe.
class RangeSlots {
 public:
  explicit RangeSlots(int slots) : free_(slots) {}
  // As many as there are, up to `wanted`; none if there are fewer than two, since one is no gain.
  int Take(int wanted) EXCLUDES(mutex_);
  void Return(int slots) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  int free_ GUARDED_BY(mutex_);
};

class RangeTransfer {
 public:
  static constexpr size_t kChunkBytes = 1 << 20;
  // Less than this is not worth more connections.
  static constexpr int64_t kMinBytes = 32 << 20;

  // Sends a request and returns an answer of the 200s, or an error. Called from several threads.
  using Sender = std::function<Result<HttpResponse>(HttpRequest request)>;

  // `send` asks the registry for the blob; `send_direct` whom it redirects to, without credentials.
  RangeTransfer(Sender send, Sender send_direct)
      : send_(std::move(send)), send_direct_(std::move(send_direct)) {}

  // Brings what the transfer lacks, with `slots` chunks in memory and as many connections. False if
  // the server does not answer with ranges; the transfer then goes on where it is, as it does after
  // an error. Blocks until all connections have ended.
  Result<bool> Run(const Context& context, BlobTransfer& transfer, int slots);

 private:
  struct Window;

  void Work(const Context& context, Window& window);
  Status Fetch(const Context& context, Window& window, int64_t chunk);
  Status FetchOnce(Window& window, int64_t chunk);
  Status Deliver(const Context& context, BlobTransfer& transfer, Window& window);

  Sender send_;
  Sender send_direct_;
};

}  // namespace berth::image
