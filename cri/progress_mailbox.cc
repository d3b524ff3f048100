#include "cri/progress_mailbox.h"

#include <grpcpp/server_context.h>

#include <optional>

#include "base/sync.h"
#include "base/thread.h"

namespace berth::cri {

namespace {

using Layers = std::vector<image::LayerProgress>;

// How soon a client that has gone is noticed where nothing happens.
constexpr int64_t kWaitMs = 250;

class Mailbox {
 public:
  void Put(const Layers& layers) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    newest_ = layers;
    changed_.NotifyAll();
  }
  void Close() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
    changed_.NotifyAll();
  }
  // True until the transfer has ended and its last news are taken.
  bool Next(std::optional<Layers>* news) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!newest_ && !closed_) changed_.WaitMs(mutex_, kWaitMs);
    *news = std::exchange(newest_, std::nullopt);
    return news->has_value() || !closed_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::optional<Layers> newest_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace

Status RunTransfer(grpc::ServerContext& call, const Context& lifetime, const Transfer& transfer,
                   const ProgressWriter& write) {
  ASSIGN_OR_RETURN(const Context context, Context::Cancellable());
  Mailbox mailbox;
  Status result;
  ASSIGN_OR_RETURN(std::thread thread, StartThread([&] {
                     result = transfer(context, [&](const Layers& now) { mailbox.Put(now); });
                     mailbox.Close();
                   }));
  std::optional<Layers> news;
  bool gone = false;
  while (mailbox.Next(&news)) {
    if (news && !gone) gone = !write(*news);
    if (gone || call.IsCancelled() || !lifetime.Check("").ok()) context.Cancel();
  }
  thread.join();
  return result;
}

void ToPb(const image::LayerProgress& layer, ::berth::v1::LayerProgress* out) {
  out->set_digest(layer.digest);
  out->set_state(static_cast<::berth::v1::LayerState>(layer.state));
  out->set_done_bytes(static_cast<uint64_t>(layer.done_bytes));
  if (layer.total_bytes > 0) out->set_total_bytes(static_cast<uint64_t>(layer.total_bytes));
}

}  // namespace berth::cri
