#include "cli/pull.h"

#include <unistd.h>

#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "base/sync.h"
#include "base/time.h"
#include "cli/output.h"

namespace berth::cli {
namespace {

constexpr int64_t kRefreshMs = 250;

uint64_t StoreBytes(Client& client) {
  auto info = client.Call(rt::ImageFsInfoRequest());
  uint64_t bytes = 0;
  if (info.ok()) {
    for (const auto& usage : info->image_filesystems()) bytes += usage.used_bytes().value();
  }
  return bytes;
}

// Repaints one line of the terminal until it is destroyed, and wipes it then.
class ProgressLine {
 public:
  ProgressLine(Client& client, std::string image)
      : client_(client), image_(std::move(image)), thread_([this] { Run(); }) {}
  ~ProgressLine() {
    {
      MutexLock lock(mutex_);
      done_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
    (void)WriteAll(STDERR_FILENO, "\r\x1b[K");
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void Run() EXCLUDES(mutex_) {
    const int64_t started_ns = MonotonicNs();
    const uint64_t before = StoreBytes(client_);
    while (!WaitForEnd()) {
      const uint64_t now = StoreBytes(client_);
      const int64_t tenths = (MonotonicNs() - started_ns) / 100'000'000;
      (void)WriteAll(STDERR_FILENO,
                     StrCat("\r\x1b[K", Printable(image_, 60), "  ", tenths / 10, ".", tenths % 10,
                            " s  ", HumanBytes(now > before ? now - before : 0), " unpacked"));
    }
  }

  bool WaitForEnd() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!done_) changed_.WaitMs(mutex_, kRefreshMs);
    return done_;
  }

  Client& client_;
  std::string image_;
  Mutex mutex_;
  CondVar changed_;
  bool done_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

Result<std::string> Pull(Client& client, const rt::PullImageRequest& request) {
  std::unique_ptr<ProgressLine> progress;
  if (isatty(STDERR_FILENO) != 0) {
    progress = std::make_unique<ProgressLine>(client, request.image().image());
  }
  auto response = client.Call(request);
  progress.reset();
  RETURN_IF_ERROR(response, "pull ", Printable(request.image().image()));
  return response->image_ref();
}

}  // namespace berth::cli
