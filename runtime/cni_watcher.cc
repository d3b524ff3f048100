#include "runtime/cni_watcher.h"

#include <sys/inotify.h>

namespace berth::runtime {

namespace {

// Installers write several files one after the other.
constexpr int64_t kDebounceMs = 100;
constexpr uint32_t kLost = IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT;

}  // namespace

std::shared_ptr<CniWatcher> CniWatcher::Start(std::string dir, EventLoop& loop) {
  std::shared_ptr<CniWatcher> watcher(new CniWatcher(std::move(dir), loop));
  MutexLock lock(watcher->mutex_);
  watcher->Reload();
  return watcher;
}

void CniWatcher::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  EndWatch();
}

Result<std::shared_ptr<const CniNetwork>> CniWatcher::Current() {
  MutexLock lock(mutex_);
  if (!network_) Reload();
  if (!network_) return missing_.error();
  return network_;
}

void CniWatcher::Reload() {
  // Watch first, then read: no change in between is missed.
  if (watch_ == 0 && !stopped_) StartWatch();
  auto loaded = LoadCniNetwork(dir_);
  network_ = nullptr;
  missing_ = Ok();
  if (loaded.ok()) {
    network_ = std::make_shared<const CniNetwork>(*std::move(loaded));
  } else {
    missing_ = std::move(loaded).error();
  }
}

void CniWatcher::StartWatch() {
  UniqueFd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd.ok() ||
      inotify_add_watch(fd.get(), dir_.c_str(),
                        IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                            IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR) < 0) {
    return;  // not there: the next call looks again
  }
  auto watch = loop_.Watch(std::move(fd), [weak = weak_from_this()](int ready) {
    if (auto self = weak.lock()) self->OnEvents(ready);
  });
  if (watch.ok()) watch_ = *watch;
}

void CniWatcher::EndWatch() {
  if (watch_ != 0) loop_.Remove(watch_);
  watch_ = 0;
}

void CniWatcher::OnEvents(int fd) {
  alignas(inotify_event) char buffer[8192];
  uint32_t seen = 0;
  while (true) {
    auto n = ReadSome(fd, buffer, sizeof buffer);
    if (!n.ok() || *n == 0) break;
    for (size_t at = 0; at < *n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      seen |= event->mask;
      at += sizeof *event + event->len;
    }
  }
  MutexLock lock(mutex_);
  if ((seen & kLost) != 0) EndWatch();
  if (seen == 0 || reload_due_ || stopped_) return;
  reload_due_ = true;
  loop_.PostAfterMs(kDebounceMs, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    MutexLock reload_lock(self->mutex_);
    self->reload_due_ = false;
    if (!self->stopped_) self->Reload();
  });
}

}  // namespace berth::runtime
